//! The kit for programs in Rust: the program ABI (abi.rs) with owning types. `template/` is a program to start from.
//!
//! An instance serves one request and goes with its memory. What goes wrong ends it: the caller gets the message.

pub mod abi;

use abi::*;
pub use abi::{ModelInfo, SamplerParams, SequenceStats};

/// Declares the version of the ABI, and what serves the one request of an instance.
#[macro_export]
macro_rules! program {
    ($serve:path) => {
        #[no_mangle]
        pub extern "C" fn realm_abi_v1() {}
        #[no_mangle]
        pub extern "C" fn handle() -> i32 {
            std::panic::set_hook(Box::new(|panic| $crate::fail($crate::abi::REALM_FAIL_PROGRAM, &panic.to_string())));
            $serve();
            0
        }
    };
}

/// Ends the instance with one of REALM_FAIL_ and a message for the caller.
pub fn fail(failure: u32, message: &str) -> ! {
    unsafe { abi::fail(failure, message.as_ptr(), message.len() as u32) };
    std::process::abort()
}

/// Ends the instance with the caller's mistake; the message names the field.
pub fn bad_request(message: &str) -> ! {
    fail(REALM_FAIL_BAD_REQUEST, message)
}

fn require(status: i32, what: &str) -> u32 {
    if status >= 0 {
        return status as u32;
    }
    let (failure, why) = match status {
        REALM_NOT_FOUND => (REALM_FAIL_MODEL_NOT_FOUND, "there is none of that name"),
        REALM_CONTEXT_FULL => (REALM_FAIL_CONTEXT_EXCEEDED, "the context is full"),
        REALM_LIMIT => (REALM_FAIL_UNAVAILABLE, "a limit of the realm is reached"),
        REALM_UNAVAILABLE => (REALM_FAIL_UNAVAILABLE, "the server cannot take this on now"),
        REALM_CANCELLED => (REALM_FAIL_UNAVAILABLE, "the client has gone"),
        REALM_UNSUPPORTED => (REALM_FAIL_BAD_REQUEST, "the model cannot do this"),
        _ => (REALM_FAIL_PROGRAM, "a value is out of range"),
    };
    fail(failure, &format!("{what}: {why}"))
}

/// Asks a function that fills an array until the array is large enough.
fn filled<T: Clone + Default>(guess: usize, what: &str, fill: impl Fn(*mut T, u32) -> i32) -> Vec<T> {
    let mut found = vec![T::default(); guess];
    loop {
        let count = require(fill(found.as_mut_ptr(), found.len() as u32), what) as usize;
        let fits = count <= found.len();
        found.resize(count, T::default());
        if fits {
            return found;
        }
    }
}

pub fn read_request() -> Vec<u8> {
    let mut body = vec![0; require(unsafe { input_size() }, "request") as usize];
    let count = unsafe { input_read(body.as_mut_ptr(), body.len() as u32, 0) };
    body.truncate(require(count, "request") as usize);
    body
}

/// Method and path, such as "POST /v1/chat/completions"; empty for a native request.
pub fn route() -> String {
    let text = filled(64, "request", |at, count| unsafe { request_text(REALM_REQUEST_ROUTE, at, count) });
    String::from_utf8_lossy(&text).into_owned()
}

/// Announces the status and the content (REALM_CONTENT_) of the answer, before the first `emit`.
pub fn respond(status: u32, content: u32) {
    require(unsafe { abi::respond(status, content) }, "respond");
}

/// Hands a chunk (REALM_EMIT_) to the client.
pub fn emit(kind: u32, bytes: &[u8]) {
    require(unsafe { abi::emit(kind, bytes.as_ptr(), bytes.len() as u32) }, "emit");
}

/// One server-sent event without a name.
pub fn emit_event(data: &str) {
    emit(REALM_EMIT_EVENT, format!("\n{data}").as_bytes());
}

/// How tokens are drawn: the likeliest one each time, until changed.
pub fn greedy() -> SamplerParams {
    SamplerParams { top_p: 1.0, typical_p: 1.0, repetition_penalty: 1.0, ..Default::default() }
}

/// A leased model.
pub struct Model(i32);

impl Model {
    /// An empty name is the host's default.
    pub fn open(name: &str) -> Model {
        Model(require(unsafe { model_open(name.as_ptr(), name.len() as u32) }, "model") as i32)
    }

    pub fn info(&self) -> ModelInfo {
        let mut info = ModelInfo::default();
        require(unsafe { model_info(self.0, &mut info) }, "model");
        info
    }

    /// `flags`: REALM_TOKENIZE_, or'ed.
    pub fn tokenize(&self, text: &str, flags: u32) -> Vec<i32> {
        filled(text.len() / 2 + 16, "tokenize", |at, count| unsafe {
            tokenize(self.0, flags, text.as_ptr(), text.len() as u32, at, count)
        })
    }

    /// The bytes of the tokens, which need not be whole characters.
    pub fn bytes_of(&self, tokens: &[i32]) -> Vec<u8> {
        filled(tokens.len() * 16 + 64, "detokenize", |at, count| unsafe {
            detokenize(self.0, 0, tokens.as_ptr(), tokens.len() as u32, at, count)
        })
    }

    pub fn ends_generation(&self, token: i32) -> bool {
        require(unsafe { token_flags(self.0, token) }, "token") & REALM_TOKEN_END_OF_GENERATION != 0
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { model_close(self.0) };
    }
}

/// A token history with its KV cache.
pub struct Sequence(i32);

impl Sequence {
    /// `tokens_max`: prompt and answer together.
    pub fn open(model: &Model, tokens_max: u32) -> Sequence {
        let params = SequenceParams { tokens_max, priority: REALM_PRIORITY_NORMAL, ..Default::default() };
        Sequence(require(unsafe { seq_open(model.0, &params) }, "sequence") as i32)
    }

    /// A copy of its first `length` tokens that goes its own way.
    pub fn fork(&self, length: u32) -> Sequence {
        Sequence(require(unsafe { seq_fork(self.0, length) }, "fork") as i32)
    }

    pub fn len(&self) -> u32 {
        require(unsafe { seq_length(self.0) }, "sequence")
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn append(&mut self, tokens: &[i32]) {
        require(unsafe { seq_append(self.0, tokens.as_ptr(), tokens.len() as u32) }, "append");
    }

    pub fn sampler(&mut self, params: &SamplerParams) {
        require(unsafe { seq_sampler(self.0, params, std::ptr::null(), 0, std::ptr::null(), 0) }, "sampler");
    }

    /// The next token; nothing when the sequence is full.
    pub fn next_token(&mut self) -> Option<i32> {
        let mut token = 0;
        match unsafe { seq_next(self.0, &mut token, 1) } {
            REALM_CONTEXT_FULL => None,
            status => require(status, "generation").checked_sub(1).map(|_| token),
        }
    }

    /// Takes back the tokens from `position` on and bans some there.
    pub fn reject(&mut self, position: u32, banned: &[i32]) {
        require(unsafe { seq_reject(self.0, position, banned.as_ptr(), banned.len() as u32) }, "reject");
    }

    pub fn stats(&self) -> SequenceStats {
        let mut stats = SequenceStats::default();
        require(unsafe { seq_stats(self.0, &mut stats) }, "stats");
        stats
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        unsafe { seq_close(self.0) };
    }
}

/// Puts characters together whose bytes come in pieces.
#[derive(Default)]
pub struct Utf8(Vec<u8>);

impl Utf8 {
    /// The whole characters so far; what no byte can complete any more becomes U+FFFD.
    pub fn add(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.0) {
                Ok(rest) => {
                    text += rest;
                    self.0.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text += std::str::from_utf8(&self.0[..valid]).unwrap_or_default();
                    let Some(bad) = error.error_len() else {
                        self.0.drain(..valid);
                        return text;
                    };
                    text.push('\u{fffd}');
                    self.0.drain(..valid + bad);
                }
            }
        }
    }
}
