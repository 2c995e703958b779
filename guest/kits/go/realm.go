// Package realm is the kit for programs in Go: the program ABI (abi.go) with types of Go. template is a program to start from.
//
// An instance serves one request and goes with its memory. What goes wrong ends it: the caller gets the message.
package realm

import (
	"fmt"
	"os"
	"unicode/utf8"
	"unsafe"
)

// Fail ends the instance with one of REALM_FAIL_ and a message for the caller.
func Fail(failure uint32, message string) {
	abiFail(failure, unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	os.Exit(1)
}

// BadRequest ends the instance with the caller's mistake; the message names the field.
func BadRequest(message string) { Fail(REALM_FAIL_BAD_REQUEST, message) }

func require(status int32, what string) uint32 {
	if status >= 0 {
		return uint32(status)
	}
	failure, why := uint32(REALM_FAIL_PROGRAM), "a value is out of range"
	switch status {
	case REALM_NOT_FOUND:
		failure, why = REALM_FAIL_MODEL_NOT_FOUND, "there is none of that name"
	case REALM_CONTEXT_FULL:
		failure, why = REALM_FAIL_CONTEXT_EXCEEDED, "the context is full"
	case REALM_LIMIT:
		failure, why = REALM_FAIL_UNAVAILABLE, "a limit of the realm is reached"
	case REALM_UNAVAILABLE:
		failure, why = REALM_FAIL_UNAVAILABLE, "the server cannot take this on now"
	case REALM_CANCELLED:
		failure, why = REALM_FAIL_UNAVAILABLE, "the client has gone"
	case REALM_UNSUPPORTED:
		failure, why = REALM_FAIL_BAD_REQUEST, "the model cannot do this"
	}
	Fail(failure, fmt.Sprintf("%s: %s", what, why))
	return 0
}

// Asks a function that fills an array until the array is large enough.
func filled[T any](guess int, what string, fill func(at unsafe.Pointer, count uint32) int32) []T {
	for {
		found := make([]T, guess)
		count := int(require(fill(unsafe.Pointer(unsafe.SliceData(found)), uint32(guess)), what))
		if count <= guess {
			return found[:count]
		}
		guess = count
	}
}

// ReadRequest returns the bytes of the request.
func ReadRequest() []byte {
	size := int(require(abiInputSize(), "request"))
	return filled[byte](size, "request", func(at unsafe.Pointer, count uint32) int32 { return abiInputRead(at, count, 0) })
}

// Route is method and path, such as "POST /v1/chat/completions"; empty for a native request.
func Route() string {
	return string(filled[byte](64, "request", func(at unsafe.Pointer, count uint32) int32 {
		return abiRequestText(REALM_REQUEST_ROUTE, at, count)
	}))
}

// Respond announces the status and the content (REALM_CONTENT_) of the answer, before the first Emit.
func Respond(status, content uint32) { require(abiRespond(status, content), "respond") }

// Emit hands a chunk (REALM_EMIT_) to the client.
func Emit(kind uint32, bytes []byte) {
	require(abiEmit(kind, unsafe.Pointer(unsafe.SliceData(bytes)), uint32(len(bytes))), "emit")
}

// EmitEvent sends one server-sent event without a name.
func EmitEvent(data []byte) { Emit(REALM_EMIT_EVENT, append([]byte{'\n'}, data...)) }

// Greedy says how tokens are drawn: the likeliest one each time, until changed.
func Greedy() SamplerParams {
	return SamplerParams{TopP: 1, TypicalP: 1, RepetitionPenalty: 1}
}

// Model is a leased model.
type Model int32

// OpenModel leases a model; an empty name is the host's default.
func OpenModel(name string) Model {
	return Model(require(abiModelOpen(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name))), "model"))
}

// Info tells the model's sizes and special tokens.
func (m Model) Info() (info ModelInfo) {
	require(abiModelInfo(int32(m), unsafe.Pointer(&info)), "model")
	return info
}

// Tokenize makes tokens of text; flags are REALM_TOKENIZE_, or'ed.
func (m Model) Tokenize(text string, flags uint32) []int32 {
	return filled[int32](len(text)/2+16, "tokenize", func(at unsafe.Pointer, count uint32) int32 {
		return abiTokenize(int32(m), flags, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)), at, count)
	})
}

// Bytes are those of the tokens, which need not be whole characters.
func (m Model) Bytes(tokens ...int32) []byte {
	return filled[byte](len(tokens)*16+64, "detokenize", func(at unsafe.Pointer, count uint32) int32 {
		return abiDetokenize(int32(m), 0, unsafe.Pointer(unsafe.SliceData(tokens)), uint32(len(tokens)), at, count)
	})
}

// EndsGeneration tells whether the model has nothing more to say after this token.
func (m Model) EndsGeneration(token int32) bool {
	return require(abiTokenFlags(int32(m), token), "token")&REALM_TOKEN_END_OF_GENERATION != 0
}

// Sequence is a token history with its KV cache.
type Sequence int32

// OpenSequence makes an empty sequence; tokensMax is prompt and answer together.
func OpenSequence(model Model, tokensMax uint32) Sequence {
	params := SequenceParams{TokensMax: tokensMax, Priority: REALM_PRIORITY_NORMAL}
	return Sequence(require(abiSeqOpen(int32(model), unsafe.Pointer(&params)), "sequence"))
}

// Fork is a copy of the first length tokens that goes its own way.
func (s Sequence) Fork(length uint32) Sequence {
	return Sequence(require(abiSeqFork(int32(s), length), "fork"))
}

// Length counts tokens, appended and taken.
func (s Sequence) Length() uint32 { return require(abiSeqLength(int32(s)), "sequence") }

// Append adds tokens at the end.
func (s Sequence) Append(tokens []int32) {
	require(abiSeqAppend(int32(s), unsafe.Pointer(unsafe.SliceData(tokens)), uint32(len(tokens))), "append")
}

// Sampler declares how the next tokens are drawn.
func (s Sequence) Sampler(params SamplerParams) {
	require(abiSeqSampler(int32(s), unsafe.Pointer(&params), nil, 0, nil, 0), "sampler")
}

// Next is the next token; false when the sequence is full.
func (s Sequence) Next() (token int32, ok bool) {
	status := abiSeqNext(int32(s), unsafe.Pointer(&token), 1)
	if status == REALM_CONTEXT_FULL {
		return 0, false
	}
	return token, require(status, "generation") > 0
}

// Reject takes back the tokens from position on and bans some there.
func (s Sequence) Reject(position uint32, banned ...int32) {
	require(abiSeqReject(int32(s), position, unsafe.Pointer(unsafe.SliceData(banned)), uint32(len(banned))), "reject")
}

// Stats tells how many tokens of which kind it has, and how long they took.
func (s Sequence) Stats() (stats SequenceStats) {
	require(abiSeqStats(int32(s), unsafe.Pointer(&stats)), "stats")
	return stats
}

// Close ends the sequence; without it, it ends with the instance.
func (s Sequence) Close() { abiSeqClose(int32(s)) }

// Utf8 puts characters together whose bytes come in pieces.
type Utf8 struct{ rest []byte }

// Add returns the whole characters so far.
func (u *Utf8) Add(bytes []byte) string {
	u.rest = append(u.rest, bytes...)
	end := 0
	for end < len(u.rest) && utf8.FullRune(u.rest[end:]) {
		_, size := utf8.DecodeRune(u.rest[end:])
		end += size
	}
	text := string(u.rest[:end])
	u.rest = u.rest[end:]
	return text
}
