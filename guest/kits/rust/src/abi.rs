//! The program ABI, written by tools/generate_kits.py from abi/realm_abi.h. docs/programs.md explains it.

pub const REALM_OK: i32 = 0;
pub const REALM_INVALID_ARGUMENT: i32 = -1;
pub const REALM_BAD_HANDLE: i32 = -2;
pub const REALM_FAULT: i32 = -3;
pub const REALM_LIMIT: i32 = -4;
pub const REALM_NOT_FOUND: i32 = -5;
pub const REALM_CONTEXT_FULL: i32 = -6;
pub const REALM_UNAVAILABLE: i32 = -7;
pub const REALM_CANCELLED: i32 = -8;
pub const REALM_UNSUPPORTED: i32 = -9;
pub const REALM_FAIL_BAD_REQUEST: u32 = 1;
pub const REALM_FAIL_CONTEXT_EXCEEDED: u32 = 2;
pub const REALM_FAIL_MODEL_NOT_FOUND: u32 = 3;
pub const REALM_FAIL_UNAVAILABLE: u32 = 4;
pub const REALM_FAIL_PROGRAM: u32 = 5;
pub const REALM_EMIT_TEXT: u32 = 1;
pub const REALM_EMIT_SUMMARY: u32 = 2;
pub const REALM_EMIT_BODY: u32 = 3;
pub const REALM_EMIT_EVENT: u32 = 4;
pub const REALM_CONTENT_JSON: u32 = 1;
pub const REALM_CONTENT_EVENTS: u32 = 2;
pub const REALM_CONTENT_TEXT: u32 = 3;
pub const REALM_CONTENT_BYTES: u32 = 4;
pub const REALM_REQUEST_ROUTE: u32 = 1;
pub const REALM_REQUEST_ID: u32 = 2;
pub const REALM_LOG_DEBUG: u32 = 0;
pub const REALM_LOG_INFO: u32 = 1;
pub const REALM_LOG_WARNING: u32 = 2;
pub const REALM_LOG_ERROR: u32 = 3;
pub const REALM_TOKENIZE_ADD_SPECIAL: u32 = 1;
pub const REALM_TOKENIZE_PARSE_SPECIAL: u32 = 2;
pub const REALM_DETOKENIZE_SPECIAL: u32 = 1;
pub const REALM_TOKEN_END_OF_GENERATION: u32 = 1;
pub const REALM_TOKEN_CONTROL: u32 = 2;
pub const REALM_TEXT_CHAT_TEMPLATE: u32 = 1;
pub const REALM_TEXT_CHAT_TEMPLATE_TOOLS: u32 = 2;
pub const REALM_TEXT_ARCHITECTURE: u32 = 3;
pub const REALM_TEXT_QUANTIZATION: u32 = 4;
pub const REALM_TEXT_RERANK_TEMPLATE: u32 = 6;
pub const REALM_TEXT_NAME: u32 = 5;
pub const REALM_PRIORITY_LOW: u32 = 0;
pub const REALM_PRIORITY_NORMAL: u32 = 1;
pub const REALM_PRIORITY_HIGH: u32 = 2;
pub const REALM_SAMPLER_STOP_AT_END: u32 = 1;
pub const REALM_SAMPLER_JUDGED: u32 = 2;
pub const REALM_SEQUENCE_EMBEDS: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelInfo {
    pub context_tokens_max: u32,
    pub context_tokens_trained: u32,
    pub vocabulary_tokens: u32,
    pub bos_token: i32,
    pub eos_token: i32,
    pub eot_token: i32,
    pub adds_bos: u32,
    pub adds_eos: u32,
    pub embedding_values: u32,
    pub ranks: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceParams {
    pub tokens_max: u32,
    pub priority: u32,
    pub flags: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SamplerParams {
    pub temperature: f32,
    pub top_k: i32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub repetition_penalty: f32,
    pub frequency_penalty: f32,
    pub presence_penalty: f32,
    pub penalty_last_n: i32,
    pub flags: u32,
    pub seed: u64,
    pub new_tokens_max: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceStats {
    pub tokens: u32,
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub generated_tokens: u32,
    pub discarded_tokens: u32,
    pub reserved: u32,
    pub queue_ns: u64,
    pub prefill_ns: u64,
    pub decode_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightsStats {
    pub bytes: u64,
    pub parameters: u64,
    pub tensors: u32,
    pub layers: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TensorInfo {
    pub bytes: u64,
    pub columns: u32,
    pub rows: u32,
    pub readable: u32,
    pub products: u32,
}

#[link(wasm_import_module = "realm")]
extern "C" {
    /// Bytes of the request.
    pub fn input_size() -> i32;
    /// Copies request bytes from `offset` on; returns how many were copied, 0 at the end.
    pub fn input_read(destination: *mut u8, capacity: u32, offset: u32) -> i32;
    /// How the request came in (enum realm_request_text); returns the text's length.
    pub fn request_text(which: u32, destination: *mut u8, capacity: u32) -> i32;
    /// Announces an HTTP status (200 to 599) and a content (enum realm_content), once, before the first emit.
    /// A request that came in by a route is answered with it; the kinds REALM_EMIT_BODY and REALM_EMIT_EVENT
    /// need it.
    pub fn respond(status: u32, content: u32) -> i32;
    /// Hands a chunk to the client. Suspends while the client's buffer is full. REALM_CANCELLED when it has
    /// gone.
    pub fn emit(kind: u32, bytes: *const u8, count: u32) -> i32;
    /// A line for the operator's log, cut at 1 KiB; more than 64 lines a request are counted and dropped.
    pub fn log(level: u32, text: *const u8, count: u32) -> i32;
    /// Nanoseconds since the request began, monotonic. Returns the value itself.
    pub fn clock_ns() -> i64;
    /// Fills at most 4,096 bytes from the system's generator.
    pub fn random(destination: *mut u8, count: u32) -> i32;
    /// Ends the instance with enum realm_failure and a message for the caller (cut at 4 KiB). Does not return.
    pub fn fail(failure: u32, message: *const u8, count: u32) -> i32;
    /// Ends the instance and runs the same request again in a fresh one, which reads `note` (at most 256
    /// bytes) back. It lets a program try something that may trap, such as a template that raises, and go
    /// another way the second time. At most 4 times a request, and only before the first emit; the limits of
    /// the request go on counting. Does not return.
    pub fn restart(note: *const u8, count: u32) -> i32;
    /// The note of the instance before this one; returns its length, 0 in the first instance.
    pub fn restart_note(destination: *mut u8, capacity: u32) -> i32;
    /// The value that was put under a key (1 to 128 bytes) by this or another request of the realm; returns
    /// its length.
    pub fn store_get(key: *const u8, key_count: u32, value: *mut u8, capacity: u32) -> i32;
    /// Keeps a value of at most 1 MiB under a key, in place of what was there; an empty value deletes. Durable
    /// when it returns, and never half.
    pub fn store_put(key: *const u8, key_count: u32, value: *const u8, value_count: u32) -> i32;
    /// The keys that begin with `prefix`, in the order of their bytes: for each its length in one byte, and
    /// it. Returns the bytes of the whole.
    pub fn store_list(prefix: *const u8, prefix_count: u32, keys: *mut u8, capacity: u32) -> i32;
    /// Leases a model by name (empty: the host's default) and returns its handle. Suspends while it loads.
    pub fn model_open(name: *const u8, count: u32) -> i32;
    pub fn model_close(model: i32) -> i32;
    pub fn model_info(model: i32, info: *mut ModelInfo) -> i32;
    /// One of the model's texts; returns its length in bytes.
    pub fn model_text(model: i32, which: u32, destination: *mut u8, capacity: u32) -> i32;
    /// Text to token ids; returns how many. At most 1 MiB of text a call; its CPU time is the caller's.
    pub fn tokenize(
        model: i32,
        flags: u32,
        text: *const u8,
        text_count: u32,
        tokens: *mut i32,
        capacity: u32,
    ) -> i32;
    /// Token ids to bytes, which need not be whole UTF-8 characters; returns how many bytes.
    pub fn detokenize(
        model: i32,
        flags: u32,
        tokens: *const i32,
        tokens_count: u32,
        destination: *mut u8,
        capacity: u32,
    ) -> i32;
    /// enum realm_token_flags of one token id.
    pub fn token_flags(model: i32, token: i32) -> i32;
    /// The text of every token that stands for text (no control tokens, none longer than 255 bytes), in the
    /// order of the bytes. For each: its id in 4 bytes, lowest first; how many bytes it shares with the one
    /// before, at most 255; how many follow; those. Returns the bytes of the whole.
    pub fn model_vocabulary(model: i32, destination: *mut u8, capacity: u32) -> i32;
    /// A new empty sequence; returns its handle. KV cells are reserved when it first computes.
    pub fn seq_open(model: i32, params: *const SequenceParams) -> i32;
    /// A new sequence with the first `length` tokens of this one, its sampler and its parameters of seq_open;
    /// returns its handle. Their KV is copied, not computed again; a prompt that nobody has computed yet is
    /// computed once for all forks.
    pub fn seq_fork(sequence: i32, length: u32) -> i32;
    /// Saves the tokens of the sequence, with their KV and its sampler, for later requests of this realm;
    /// replaces what has the name (1 to 128 bytes). It stays in memory, until it is forgotten, or the model or
    /// the realm is unloaded.
    pub fn seq_save(sequence: i32, name: *const u8, count: u32) -> i32;
    /// A new sequence that begins with what was saved; returns its handle.
    pub fn seq_load(model: i32, name: *const u8, count: u32, params: *const SequenceParams) -> i32;
    pub fn seq_forget(model: i32, name: *const u8, count: u32) -> i32;
    pub fn seq_close(sequence: i32) -> i32;
    /// Tokens as the program sees them: appended and taken, not what the host computed ahead.
    pub fn seq_length(sequence: i32) -> i32;
    /// Adds tokens at the end; what was computed ahead is dropped. Prefill begins with the first seq_next.
    pub fn seq_append(sequence: i32, tokens: *const i32, count: u32) -> i32;
    /// Keeps the first `length` tokens.
    pub fn seq_truncate(sequence: i32, length: u32) -> i32;
    pub fn seq_stats(sequence: i32, stats: *mut SequenceStats) -> i32;
    /// The vector of all tokens of a sequence opened with REALM_SEQUENCE_EMBEDS: pooled as the model's file
    /// says, the mean of its tokens' when it says nothing; not normalised. Suspends until it is there. Returns
    /// how many values it has.
    pub fn seq_embed(sequence: i32, values: *mut f32, capacity: u32) -> i32;
    /// Declares how the next tokens are drawn, with additive biases for given token ids (at most 1,024). May
    /// be changed between tokens; what was computed ahead under the old one is dropped. A new sequence samples
    /// greedily.
    pub fn seq_sampler(
        sequence: i32,
        params: *const SamplerParams,
        bias_tokens: *const i32,
        bias_tokens_count: u32,
        bias_values: *const f32,
        bias_values_count: u32,
    ) -> i32;
    /// The next sampled tokens, at least one, at most `capacity`, as many as the host has run ahead. Suspends
    /// until there is one. REALM_CONTEXT_FULL when the sequence cannot grow.
    pub fn seq_next(sequence: i32, tokens: *mut i32, capacity: u32) -> i32;
    /// Waits until seq_next would answer at once for at least one of the sequences, be it with tokens or with
    /// an error, and writes the handles of all those; returns how many. `ready` has room for as many as there
    /// are sequences.
    pub fn seq_next_any(
        sequences: *const i32,
        sequences_count: u32,
        ready: *mut i32,
        ready_count: u32,
    ) -> i32;
    /// Takes back the tokens from `position` on, and forbids `banned` as the next token there. The host rolls
    /// back; what follows is what it would have been had the host never run ahead. The bans of a position add
    /// up until the token there is followed by another, so that rejecting one token after the other comes to
    /// an end; with none the bans there are lifted.
    pub fn seq_reject(sequence: i32, position: u32, banned: *const i32, count: u32) -> i32;
    /// Names the tokens that may come at `position`, at most seq_length: token i is bit (i % 8) of byte (i /
    /// 8), and the bitmap has a bit for every token of the vocabulary. A token there that is not allowed, and
    /// what follows it, is taken back. What is drawn is what repeated rejection would lead to, whether the
    /// mask comes before the draw or after it. Holds as bans do.
    pub fn seq_mask(sequence: i32, position: u32, allowed: *const u8, count: u32) -> i32;
    /// Tokens that the program expects next, at most 16. The host computes them along with the next step and
    /// keeps those that it would have drawn: what comes is the same, in fewer steps. Without effect on a
    /// judged sequence, and while other realms compute.
    pub fn seq_guess(sequence: i32, tokens: *const i32, count: u32) -> i32;
    /// Adds tokens that the program has chosen itself; they count as generated. The sequence must not be
    /// empty.
    pub fn seq_push(sequence: i32, tokens: *const i32, count: u32) -> i32;
    /// The likeliest tokens that might have come at `position` and the logarithms of their probabilities,
    /// likeliest first: raw logits, no sampling parameters. As many as both arrays hold, at most 1,024;
    /// returns how many. Known of the token that a judged sequence has taken last; else REALM_NOT_FOUND.
    pub fn seq_candidates(
        sequence: i32,
        position: u32,
        tokens: *mut i32,
        tokens_count: u32,
        logprobs: *mut f32,
        logprobs_count: u32,
    ) -> i32;
    /// The same logarithms for tokens of the program's choice; both counts are equal, at most 1,024.
    pub fn seq_logprobs(
        sequence: i32,
        position: u32,
        tokens: *const i32,
        tokens_count: u32,
        logprobs: *mut f32,
        logprobs_count: u32,
    ) -> i32;
    /// The whole row of raw logits there; returns how many it has.
    pub fn seq_logits(sequence: i32, position: u32, logits: *mut f32, capacity: u32) -> i32;
}

#[link(wasm_import_module = "env")]
extern "C" {
    /// 1 when this program may use the functions below, else 0.
    pub fn memory64_is_enabled() -> i32;
    pub fn memory64_stats(model: i32, stats: *mut WeightsStats) -> i32;
    /// A value of the model file's metadata, such as that of "llama.attention.head_count", as text; returns
    /// its length.
    pub fn memory64_metadata(
        model: i32,
        key: *const u8,
        key_count: u32,
        value: *mut u8,
        capacity: u32,
    ) -> i32;
    /// Says that a layer's weights will be used, so that they are read from the disk if need be; returns how
    /// many tensors it has.
    pub fn memory64_load_layer(model: i32, layer: u32) -> i32;
    /// A handle of the tensor that has a name in the model file, such as "blk.0.attn_q.weight".
    pub fn memory64_tensor(model: i32, name: *const u8, count: u32) -> i32;
    pub fn memory64_tensor_info(tensor: i32, info: *mut TensorInfo) -> i32;
    /// The name of the type of its values, such as "q4_1"; returns its length.
    pub fn memory64_tensor_type(tensor: i32, destination: *mut u8, capacity: u32) -> i32;
    pub fn memory64_tensor_close(tensor: i32) -> i32;
    /// Whole rows from `row` on, as floats: `count` is a multiple of its columns, at most 2^20. Returns how
    /// many values were written.
    pub fn memory64_read(tensor: i32, row: u32, values: *mut f32, count: u32) -> i32;
    /// out[m][n] = a[m][k] times b[k][n]. The counts are m * k, k * n and m * n.
    pub fn candle_matmul(
        a: *const f32,
        a_count: u32,
        b: *const f32,
        b_count: u32,
        out: *mut f32,
        out_count: u32,
        m: u32,
        k: u32,
        n: u32,
    ) -> i32;
    /// The same with b[n][k]: out[i][j] is the product of row i of a and row j of b.
    pub fn candle_matmul_transposed(
        a: *const f32,
        a_count: u32,
        b: *const f32,
        b_count: u32,
        out: *mut f32,
        out_count: u32,
        m: u32,
        k: u32,
        n: u32,
    ) -> i32;
    /// out[i][j] is the product of row i of x, which has `rows` of them, and row j of the tensor, which stays
    /// in the host.
    pub fn candle_matmul_tensor(
        tensor: i32,
        x: *const f32,
        x_count: u32,
        out: *mut f32,
        out_count: u32,
        rows: u32,
    ) -> i32;
}
