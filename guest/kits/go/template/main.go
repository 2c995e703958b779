// A realm's own chat program in Go: uploaded as "default" it answers POST /v1/chat/completions, streamed or not.
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o chat.wasm .
//	realm programs push chat.wasm --name default --realm NAME
package main

import (
	"encoding/json"

	"realm"
)

type message struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

type request struct {
	Messages    []message `json:"messages"`
	MaxTokens   *uint32   `json:"max_tokens"`
	Temperature *float32  `json:"temperature"`
	Seed        uint64    `json:"seed"`
	Stream      bool      `json:"stream"`
}

type choice struct {
	Index        int      `json:"index"`
	Message      *message `json:"message,omitempty"`
	Delta        *message `json:"delta,omitempty"`
	FinishReason *string  `json:"finish_reason"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

type answer struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int      `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
}

func text(value any) []byte {
	bytes, err := json.Marshal(value)
	if err != nil {
		realm.Fail(realm.REALM_FAIL_PROGRAM, err.Error())
	}
	return bytes
}

func answerOf(object string, one choice, used *usage) []byte {
	return text(answer{ID: "chatcmpl-1", Object: object, Model: "go", Choices: []choice{one}, Usage: used})
}

// The conversation as ChatML. What people wrote is tokenised as plain text, so that it cannot forge a role.
func prompt(model realm.Model, messages []message) (tokens []int32) {
	for _, one := range messages {
		tokens = append(tokens, model.Tokenize("<|im_start|>", realm.REALM_TOKENIZE_PARSE_SPECIAL)...)
		tokens = append(tokens, model.Tokenize(one.Role+"\n"+one.Content, 0)...)
		tokens = append(tokens, model.Tokenize("<|im_end|>\n", realm.REALM_TOKENIZE_PARSE_SPECIAL)...)
	}
	return append(tokens, model.Tokenize("<|im_start|>assistant\n", realm.REALM_TOKENIZE_PARSE_SPECIAL)...)
}

func read() (asked request, tokensMax uint32) {
	if realm.Route() != "POST /v1/chat/completions" {
		realm.BadRequest("this program answers POST /v1/chat/completions only")
	}
	if err := json.Unmarshal(realm.ReadRequest(), &asked); err != nil {
		realm.BadRequest(err.Error())
	}
	if len(asked.Messages) == 0 {
		realm.BadRequest("messages: there is none")
	}
	tokensMax = 256
	if asked.MaxTokens != nil {
		tokensMax = min(max(*asked.MaxTokens, 1), 4096)
	}
	return asked, tokensMax
}

//go:wasmexport realm_abi_v1
func abiVersion() {}

//go:wasmexport handle
func handle() int32 {
	asked, tokensMax := read()
	model := realm.OpenModel("")
	tokens := prompt(model, asked.Messages)
	sequence := realm.OpenSequence(model, uint32(len(tokens))+tokensMax)
	sequence.Append(tokens)
	sampler := realm.Greedy()
	sampler.Temperature = 1
	if asked.Temperature != nil {
		sampler.Temperature = *asked.Temperature
	}
	sampler.Seed = asked.Seed
	sampler.Flags = realm.REALM_SAMPLER_STOP_AT_END
	sampler.NewTokensMax = tokensMax
	sequence.Sampler(sampler)

	content := uint32(realm.REALM_CONTENT_JSON)
	if asked.Stream {
		content = realm.REALM_CONTENT_EVENTS
	}
	realm.Respond(200, content)
	var whole realm.Utf8
	said, finish, count := "", "length", 0
	for count < int(tokensMax) {
		token, ok := sequence.Next()
		if !ok {
			break
		}
		count++
		if model.EndsGeneration(token) {
			finish = "stop"
			break
		}
		piece := whole.Add(model.Bytes(token))
		if asked.Stream && piece != "" {
			realm.EmitEvent(answerOf("chat.completion.chunk", choice{Delta: &message{Role: "assistant", Content: piece}}, nil))
		}
		said += piece
	}
	if asked.Stream {
		realm.EmitEvent(answerOf("chat.completion.chunk", choice{Delta: &message{}, FinishReason: &finish}, nil))
		realm.EmitEvent([]byte("[DONE]"))
		return 0
	}
	used := usage{PromptTokens: len(tokens), CompletionTokens: count, TotalTokens: len(tokens) + count}
	last := choice{Message: &message{Role: "assistant", Content: said}, FinishReason: &finish}
	realm.Emit(realm.REALM_EMIT_BODY, answerOf("chat.completion", last, &used))
	return 0
}

func main() {}
