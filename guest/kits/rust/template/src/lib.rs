//! A realm's own chat program in Rust: uploaded as `default` it answers POST /v1/chat/completions, streamed or not.
//!
//!   cargo build --release --target wasm32-wasip1
//!   realm programs push target/wasm32-wasip1/release/chat.wasm --name default --realm NAME

use realm::abi::*;
use realm::{Model, Sequence, Utf8};
use serde_json::{json, Value};

realm::program!(serve);

/// The conversation as ChatML. What people wrote is tokenised as plain text, so that it cannot forge a role.
fn prompt(model: &Model, messages: &[Value]) -> Vec<i32> {
    let mut tokens = Vec::new();
    for message in messages {
        let (Some(role), Some(content)) = (message["role"].as_str(), message["content"].as_str()) else {
            realm::bad_request("messages: role and content must be strings");
        };
        tokens.extend(model.tokenize("<|im_start|>", REALM_TOKENIZE_PARSE_SPECIAL));
        tokens.extend(model.tokenize(&format!("{role}\n{content}"), 0));
        tokens.extend(model.tokenize("<|im_end|>\n", REALM_TOKENIZE_PARSE_SPECIAL));
    }
    tokens.extend(model.tokenize("<|im_start|>assistant\n", REALM_TOKENIZE_PARSE_SPECIAL));
    tokens
}

fn serve() {
    if realm::route() != "POST /v1/chat/completions" {
        realm::bad_request("this program answers POST /v1/chat/completions only");
    }
    let request: Value = serde_json::from_slice(&realm::read_request()).unwrap_or_else(|_| realm::bad_request("the request is not JSON"));
    let model = Model::open("");
    let Some(messages) = request["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        realm::bad_request("messages: must be an array with something in it");
    };
    let tokens = prompt(&model, messages);
    let tokens_max = request["max_tokens"].as_u64().unwrap_or(256).clamp(1, 4096) as u32;
    let streams = request["stream"].as_bool().unwrap_or(false);

    let mut sequence = Sequence::open(&model, tokens.len() as u32 + tokens_max);
    sequence.append(&tokens);
    let mut sampler = realm::greedy();
    sampler.temperature = request["temperature"].as_f64().unwrap_or(1.0) as f32;
    sampler.seed = request["seed"].as_u64().unwrap_or(0);
    sampler.flags = REALM_SAMPLER_STOP_AT_END;
    sampler.new_tokens_max = tokens_max;
    sequence.sampler(&sampler);

    realm::respond(200, if streams { REALM_CONTENT_EVENTS } else { REALM_CONTENT_JSON });
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "rust", "choices": [choice]}).to_string()
    };
    let (mut utf8, mut text, mut count, mut finish) = (Utf8::default(), String::new(), 0, "length");
    while count < tokens_max {
        let Some(token) = sequence.next_token() else { break };
        count += 1;
        if model.ends_generation(token) {
            finish = "stop";
            break;
        }
        let piece = utf8.add(&model.bytes_of(&[token]));
        if streams && !piece.is_empty() {
            realm::emit_event(&chunk(json!({"role": "assistant", "content": piece}), None));
        }
        text += &piece;
    }
    if streams {
        realm::emit_event(&chunk(json!({}), Some(finish)));
        realm::emit_event("[DONE]");
        return;
    }
    let usage = json!({"prompt_tokens": tokens.len(), "completion_tokens": count, "total_tokens": tokens.len() + count as usize});
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish});
    let answer =
        json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "rust", "choices": [choice], "usage": usage});
    realm::emit(REALM_EMIT_BODY, answer.to_string().as_bytes());
}
