/* The program ABI, version 1: every function that a Realm program may import, from module "realm" and, for those that compute with a
 * model's weights themselves, from module "env".
 *
 * These tables are the one source of truth. The host registers its functions from them, the guest headers declare them from them, and
 * the hostile-argument test walks them, so a function cannot be added in one place only. docs/programs.md explains it to somebody
 * who writes a program.
 *
 * Conventions
 *  - A function returns an int32_t: zero or a positive value (a handle, a count, bytes) on success, a negative realm_status on
 *    failure, unless its row says otherwise.
 *  - A pointer to uint8_t, char, int32_t or float is an array and its element count follows it at once. A pointer to a struct
 *    stands alone. `const` means that the host reads, otherwise it writes. The host checks every range against the caller's
 *    memory before it touches a byte: out of range is REALM_FAULT and nothing was changed.
 *  - A pointer to a wider type than a byte is aligned to that type, else it is REALM_FAULT too.
 *  - A function that fills an array returns how many elements the whole answer has. When that is more than the count given,
 *    nothing was written, and the caller may come back with a larger array.
 *  - Handles are positive, typed, carry a generation, and are valid only in the instance that opened them.
 *  - MAY_SUSPEND functions can park the instance until the host has an answer; its CPU clock stands still meanwhile, its wall
 *    clock does not. IMMEDIATE functions never wait.
 *  - Text is UTF-8 without a terminating zero.
 */
#ifndef REALM_ABI_H
#define REALM_ABI_H

#include <stdint.h>

#define REALM_ABI_VERSION 1

/* A program exports a function of this name, `void(void)`, which is never called: its presence states the version that the
 * program was built for, so that the host can tell without running anything. */
#define REALM_ABI_MARKER realm_abi_v1

enum realm_status {
  REALM_OK = 0,
  REALM_INVALID_ARGUMENT = -1, /* a value outside its documented range */
  REALM_BAD_HANDLE = -2,       /* never given out, closed, of another kind, or of another instance: all look the same */
  REALM_FAULT = -3,            /* a pointer and length that do not lie inside the caller's memory */
  REALM_LIMIT = -4,            /* one of the realm's limits: handles, KV tokens, emitted bytes */
  REALM_NOT_FOUND = -5,        /* no such model, or one that this realm may not see */
  REALM_CONTEXT_FULL = -6,     /* the sequence cannot grow: context length or its own tokens_max reached */
  REALM_UNAVAILABLE = -7,      /* the host cannot do it now: no room before the deadline, the device failed, shutting down */
  REALM_CANCELLED = -8,        /* the client has gone */
  REALM_UNSUPPORTED = -9       /* the loaded model cannot do it */
};

/* Why a program gives up, for `fail`. The host turns it into the protocol's error. */
enum realm_failure {
  REALM_FAIL_BAD_REQUEST = 1,      /* the caller's mistake; the message names the field */
  REALM_FAIL_CONTEXT_EXCEEDED = 2, /* the prompt does not fit the context */
  REALM_FAIL_MODEL_NOT_FOUND = 3,
  REALM_FAIL_UNAVAILABLE = 4, /* try again later */
  REALM_FAIL_PROGRAM = 5      /* the program's own fault, uncaught C++ exceptions included */
};

/* What an emitted chunk is. */
enum realm_emit_kind {
  REALM_EMIT_TEXT = 1,    /* a piece of the answer, whole UTF-8 characters */
  REALM_EMIT_SUMMARY = 2, /* one JSON object, at most once, at the end: finish_reason and counts */
  REALM_EMIT_BODY = 3,    /* after `respond` with another content than events: the next bytes of the body */
  REALM_EMIT_EVENT = 4    /* after `respond` with REALM_CONTENT_EVENTS: one event, its name (may be empty), '\n', its data */
};

/* What `respond` announces. */
enum realm_content {
  REALM_CONTENT_JSON = 1,   /* application/json */
  REALM_CONTENT_EVENTS = 2, /* text/event-stream: the host frames each event, its bytes cannot leave their frame */
  REALM_CONTENT_TEXT = 3,   /* text/plain, UTF-8 */
  REALM_CONTENT_BYTES = 4   /* application/octet-stream */
};

/* What `request_text` returns. */
enum realm_request_text {
  REALM_REQUEST_ROUTE = 1, /* method and path, such as "POST /v1/chat/completions"; empty: the native request of docs/programs.md */
  REALM_REQUEST_ID = 2     /* the request's id, 1 to 128 characters of [A-Za-z0-9._-]; the same in logs and errors */
};

enum realm_log_level { REALM_LOG_DEBUG = 0, REALM_LOG_INFO = 1, REALM_LOG_WARNING = 2, REALM_LOG_ERROR = 3 };

enum realm_tokenize_flags {
  REALM_TOKENIZE_ADD_SPECIAL = 1,  /* add BOS and EOS where the model's vocabulary says so */
  REALM_TOKENIZE_PARSE_SPECIAL = 2 /* text such as <|im_start|> becomes the control token of that name */
};

enum realm_detokenize_flags {
  REALM_DETOKENIZE_SPECIAL = 1 /* render control tokens as their text; otherwise they are left out */
};

enum realm_token_flags { REALM_TOKEN_END_OF_GENERATION = 1, REALM_TOKEN_CONTROL = 2 };

/* Which of the model's own texts `model_text` returns. */
enum realm_model_text {
  REALM_TEXT_CHAT_TEMPLATE = 1,       /* Jinja; empty when the model carries none */
  REALM_TEXT_CHAT_TEMPLATE_TOOLS = 2, /* the variant for tool use; empty when there is none */
  REALM_TEXT_ARCHITECTURE = 3,        /* general.architecture, such as "llama" */
  REALM_TEXT_QUANTIZATION = 4,        /* such as "Q4_1" */
  REALM_TEXT_RERANK_TEMPLATE = 6,     /* of a model that ranks: text with {query} and {document}; empty when there is none */
  REALM_TEXT_NAME = 5                 /* the name under which the model was opened */
};

enum realm_priority { REALM_PRIORITY_LOW = 0, REALM_PRIORITY_NORMAL = 1, REALM_PRIORITY_HIGH = 2 };

enum realm_sampler_flags {
  REALM_SAMPLER_STOP_AT_END = 1, /* do not run ahead past an end-of-generation token */
  REALM_SAMPLER_JUDGED = 2       /* the program judges each token: seq_next gives one at a time, seq_candidates knows what else was
                                    likely, and a refused token is drawn anew without computing its logits again */
};

enum realm_sequence_flags {
  REALM_SEQUENCE_EMBEDS = 1 /* for seq_embed and nothing else: the host computes it from the first seq_append on */
};

typedef struct realm_model_info {
  uint32_t context_tokens_max; /* longest sequence that this host allows for the model */
  uint32_t context_tokens_trained;
  uint32_t vocabulary_tokens;
  int32_t bos_token; /* -1 when the vocabulary has none; likewise below */
  int32_t eos_token;
  int32_t eot_token;
  uint32_t adds_bos; /* 0 or 1: does the tokenizer add it with REALM_TOKENIZE_ADD_SPECIAL */
  uint32_t adds_eos;
  uint32_t embedding_values; /* that seq_embed gives */
  uint32_t ranks;            /* 1: they are scores of how well a document answers a query, and no vector; the first one counts */
} realm_model_info_t;

typedef struct realm_sequence_params {
  uint32_t tokens_max; /* cells of KV to reserve, prompt and answer together; 0: the context length */
  uint32_t priority;   /* enum realm_priority, within this realm only: it never moves another realm back */
  uint32_t flags;      /* enum realm_sequence_flags */
  uint32_t reserved;   /* 0 */
} realm_sequence_params_t;

/* Order of application: logit bias, penalties, then temperature 0 takes the largest; else top-k, typical, top-p, min-p,
 * temperature, draw. Ranges are checked: a value outside, or NaN, is REALM_INVALID_ARGUMENT. */
typedef struct realm_sampler_params {
  float temperature;        /* 0 (greedy) to 100 */
  int32_t top_k;            /* 0 off, else 1 to the vocabulary's size; larger is off */
  float top_p;              /* above 0 to 1; 1 off */
  float min_p;              /* 0 (off) to 1 */
  float typical_p;          /* above 0 to 1; 1 off */
  float repetition_penalty; /* above 0 to 100; 1 off */
  float frequency_penalty;  /* -100 to 100; 0 off */
  float presence_penalty;   /* -100 to 100; 0 off */
  int32_t penalty_last_n;   /* tokens looked back at; 0 none, -1 the whole sequence */
  uint32_t flags;           /* enum realm_sampler_flags */
  uint64_t seed;            /* same seed, parameters and history: same draw. The host picks nothing at random by itself */
  uint32_t new_tokens_max;  /* the host stops running ahead after so many new tokens; 0: no such bound */
  uint32_t reserved;        /* 0 */
} realm_sampler_params_t;

typedef struct realm_sequence_stats {
  uint32_t tokens;           /* length as the program sees it */
  uint32_t prompt_tokens;    /* appended by the program */
  uint32_t cached_tokens;    /* of those, taken from a saved prefix and not computed */
  uint32_t generated_tokens; /* taken through seq_next or given by seq_push, rejected ones not counted */
  uint32_t discarded_tokens; /* computed ahead and thrown away by a rejection */
  uint32_t reserved;
  uint64_t queue_ns;   /* waiting for admission */
  uint64_t prefill_ns; /* admission to the first new token */
  uint64_t decode_ns;  /* first new token to the last */
} realm_sequence_stats_t;

/* What the weights of a model are. */
typedef struct realm_weights_stats {
  uint64_t bytes;
  uint64_t parameters;
  uint32_t tensors;
  uint32_t layers;
} realm_weights_stats_t;

typedef struct realm_tensor_info {
  uint64_t bytes;
  uint32_t columns;  /* values of a row, which lie side by side */
  uint32_t rows;     /* of all further dimensions together */
  uint32_t readable; /* 1: memory64_read takes it */
  uint32_t products; /* 1: candle_matmul_tensor takes it */
} realm_tensor_info_t;

/* X(name, waits, result, parameters). `waits` is IMMEDIATE or MAY_SUSPEND. */
#define REALM_ABI_FUNCTIONS(X)                                                                                                      \
  /* -- the request ------------------------------------------------------------------------------------------------------- */      \
  /* Bytes of the request. */                                                                                                       \
  X(input_size, IMMEDIATE, int32_t, (void))                                                                                         \
  /* Copies request bytes from `offset` on; returns how many were copied, 0 at the end. */                                          \
  X(input_read, IMMEDIATE, int32_t, (uint8_t * destination, uint32_t capacity, uint32_t offset))                                    \
  /* How the request came in (enum realm_request_text); returns the text's length. */                                               \
  X(request_text, IMMEDIATE, int32_t, (uint32_t which, uint8_t * destination, uint32_t capacity))                                   \
  /* Announces an HTTP status (200 to 599) and a content (enum realm_content), once, before the first emit. A request that came     \
   * in by a route is answered with it; the kinds REALM_EMIT_BODY and REALM_EMIT_EVENT need it. */                                  \
  X(respond, IMMEDIATE, int32_t, (uint32_t status, uint32_t content))                                                               \
  /* Hands a chunk to the client. Suspends while the client's buffer is full. REALM_CANCELLED when it has gone. */                  \
  X(emit, MAY_SUSPEND, int32_t, (uint32_t kind, const uint8_t* bytes, uint32_t count))                                              \
  /* A line for the operator's log, cut at 1 KiB; more than 64 lines a request are counted and dropped. */                          \
  X(log, IMMEDIATE, int32_t, (uint32_t level, const uint8_t* text, uint32_t count))                                                 \
  /* Nanoseconds since the request began, monotonic. Returns the value itself. */                                                   \
  X(clock_ns, IMMEDIATE, int64_t, (void))                                                                                           \
  /* Fills at most 4,096 bytes from the system's generator. */                                                                      \
  X(random, IMMEDIATE, int32_t, (uint8_t * destination, uint32_t count))                                                            \
  /* Ends the instance with enum realm_failure and a message for the caller (cut at 4 KiB). Does not return. */                     \
  X(fail, IMMEDIATE, int32_t, (uint32_t failure, const uint8_t* message, uint32_t count))                                           \
  /* Ends the instance and runs the same request again in a fresh one, which reads `note` (at most 256 bytes) back. It lets a       \
   * program try something that may trap, such as a template that raises, and go another way the second time. At most 4 times       \
   * a request, and only before the first emit; the limits of the request go on counting. Does not return. */                       \
  X(restart, IMMEDIATE, int32_t, (const uint8_t* note, uint32_t count))                                                             \
  /* The note of the instance before this one; returns its length, 0 in the first instance. */                                      \
  X(restart_note, IMMEDIATE, int32_t, (uint8_t * destination, uint32_t capacity))                                                   \
  /* -- the realm's store --------------------------------------------------------------------------------------------------- */    \
  /* The value that was put under a key (1 to 128 bytes) by this or another request of the realm; returns its length. */            \
  X(store_get, MAY_SUSPEND, int32_t, (const uint8_t* key, uint32_t key_count, uint8_t* value, uint32_t capacity))                   \
  /* Keeps a value of at most 1 MiB under a key, in place of what was there; an empty value deletes. Durable when it returns, and   \
   * never half. */                                                                                                                 \
  X(store_put, MAY_SUSPEND, int32_t, (const uint8_t* key, uint32_t key_count, const uint8_t* value, uint32_t value_count))          \
  /* The keys that begin with `prefix`, in the order of their bytes: for each its length in one byte, and it. Returns the bytes     \
   * of the whole. */                                                                                                               \
  X(store_list, MAY_SUSPEND, int32_t, (const uint8_t* prefix, uint32_t prefix_count, uint8_t* keys, uint32_t capacity))             \
  /* -- models ------------------------------------------------------------------------------------------------------------ */      \
  /* Leases a model by name (empty: the host's default) and returns its handle. Suspends while it loads. */                         \
  X(model_open, MAY_SUSPEND, int32_t, (const uint8_t* name, uint32_t count))                                                        \
  X(model_close, IMMEDIATE, int32_t, (int32_t model))                                                                               \
  X(model_info, IMMEDIATE, int32_t, (int32_t model, realm_model_info_t * info))                                                     \
  /* One of the model's texts; returns its length in bytes. */                                                                      \
  X(model_text, IMMEDIATE, int32_t, (int32_t model, uint32_t which, uint8_t * destination, uint32_t capacity))                      \
  /* Text to token ids; returns how many. At most 1 MiB of text a call; its CPU time is the caller's. */                            \
  X(tokenize, MAY_SUSPEND, int32_t,                                                                                                 \
    (int32_t model, uint32_t flags, const uint8_t* text, uint32_t text_count, int32_t* tokens, uint32_t capacity))                  \
  /* Token ids to bytes, which need not be whole UTF-8 characters; returns how many bytes. */                                       \
  X(detokenize, IMMEDIATE, int32_t,                                                                                                 \
    (int32_t model, uint32_t flags, const int32_t* tokens, uint32_t tokens_count, uint8_t* destination, uint32_t capacity))         \
  /* enum realm_token_flags of one token id. */                                                                                     \
  X(token_flags, IMMEDIATE, int32_t, (int32_t model, int32_t token))                                                                \
  /* The text of every token that stands for text (no control tokens, none longer than 255 bytes), in the order of the bytes.       \
   * For each: its id in 4 bytes, lowest first; how many bytes it shares with the one before, at most 255; how many follow;         \
   * those. Returns the bytes of the whole. */                                                                                      \
  X(model_vocabulary, IMMEDIATE, int32_t, (int32_t model, uint8_t * destination, uint32_t capacity))                                \
  /* -- sequences --------------------------------------------------------------------------------------------------------- */      \
  /* A new empty sequence; returns its handle. KV cells are reserved when it first computes. */                                     \
  X(seq_open, IMMEDIATE, int32_t, (int32_t model, const realm_sequence_params_t* params))                                           \
  /* A new sequence with the first `length` tokens of this one, its sampler and its parameters of seq_open; returns its handle.     \
   * Their KV is copied, not computed again; a prompt that nobody has computed yet is computed once for all forks. */               \
  X(seq_fork, IMMEDIATE, int32_t, (int32_t sequence, uint32_t length))                                                              \
  /* Saves the tokens of the sequence, with their KV and its sampler, for later requests of this realm; replaces what has the       \
   * name (1 to 128 bytes). It stays in memory, until it is forgotten, or the model or the realm is unloaded. */                    \
  X(seq_save, IMMEDIATE, int32_t, (int32_t sequence, const uint8_t* name, uint32_t count))                                          \
  /* A new sequence that begins with what was saved; returns its handle. */                                                         \
  X(seq_load, IMMEDIATE, int32_t, (int32_t model, const uint8_t* name, uint32_t count, const realm_sequence_params_t* params))      \
  X(seq_forget, IMMEDIATE, int32_t, (int32_t model, const uint8_t* name, uint32_t count))                                           \
  X(seq_close, IMMEDIATE, int32_t, (int32_t sequence))                                                                              \
  /* Tokens as the program sees them: appended and taken, not what the host computed ahead. */                                      \
  X(seq_length, IMMEDIATE, int32_t, (int32_t sequence))                                                                             \
  /* Adds tokens at the end; what was computed ahead is dropped. Prefill begins with the first seq_next. */                         \
  X(seq_append, IMMEDIATE, int32_t, (int32_t sequence, const int32_t* tokens, uint32_t count))                                      \
  /* Keeps the first `length` tokens. */                                                                                            \
  X(seq_truncate, IMMEDIATE, int32_t, (int32_t sequence, uint32_t length))                                                          \
  X(seq_stats, IMMEDIATE, int32_t, (int32_t sequence, realm_sequence_stats_t * stats))                                              \
  /* The vector of all tokens of a sequence opened with REALM_SEQUENCE_EMBEDS: pooled as the model's file says, the mean of its     \
   * tokens' when it says nothing; not normalised. Suspends until it is there. Returns how many values it has. */                   \
  X(seq_embed, MAY_SUSPEND, int32_t, (int32_t sequence, float* values, uint32_t capacity))                                          \
  /* -- decoding ---------------------------------------------------------------------------------------------------------- */      \
  /* Declares how the next tokens are drawn, with additive biases for given token ids (at most 1,024). May be changed               \
   * between tokens; what was computed ahead under the old one is dropped. A new sequence samples greedily. */                      \
  X(seq_sampler, IMMEDIATE, int32_t,                                                                                                \
    (int32_t sequence, const realm_sampler_params_t* params, const int32_t* bias_tokens, uint32_t bias_tokens_count,                \
     const float* bias_values, uint32_t bias_values_count))                                                                         \
  /* The next sampled tokens, at least one, at most `capacity`, as many as the host has run ahead. Suspends until there is          \
   * one. REALM_CONTEXT_FULL when the sequence cannot grow. */                                                                      \
  X(seq_next, MAY_SUSPEND, int32_t, (int32_t sequence, int32_t * tokens, uint32_t capacity))                                        \
  /* Waits until seq_next would answer at once for at least one of the sequences, be it with tokens or with an error, and writes    \
   * the handles of all those; returns how many. `ready` has room for as many as there are sequences. */                            \
  X(seq_next_any, MAY_SUSPEND, int32_t, (const int32_t* sequences, uint32_t sequences_count, int32_t* ready, uint32_t ready_count)) \
  /* Takes back the tokens from `position` on, and forbids `banned` as the next token there. The host rolls back; what              \
   * follows is what it would have been had the host never run ahead. The bans of a position add up until the token there is        \
   * followed by another, so that rejecting one token after the other comes to an end; with none the bans there are lifted. */      \
  X(seq_reject, IMMEDIATE, int32_t, (int32_t sequence, uint32_t position, const int32_t* banned, uint32_t count))                   \
  /* Names the tokens that may come at `position`, at most seq_length: token i is bit (i % 8) of byte (i / 8), and the bitmap       \
   * has a bit for every token of the vocabulary. A token there that is not allowed, and what follows it, is taken back. What       \
   * is drawn is what repeated rejection would lead to, whether the mask comes before the draw or after it. Holds as bans do. */    \
  X(seq_mask, IMMEDIATE, int32_t, (int32_t sequence, uint32_t position, const uint8_t* allowed, uint32_t count))                    \
  /* Tokens that the program expects next, at most 16. The host computes them along with the next step and keeps those that it      \
   * would have drawn: what comes is the same, in fewer steps. Without effect on a judged sequence, and while other realms          \
   * compute. */                                                                                                                    \
  X(seq_guess, IMMEDIATE, int32_t, (int32_t sequence, const int32_t* tokens, uint32_t count))                                       \
  /* Adds tokens that the program has chosen itself; they count as generated. The sequence must not be empty. */                    \
  X(seq_push, IMMEDIATE, int32_t, (int32_t sequence, const int32_t* tokens, uint32_t count))                                        \
  /* The likeliest tokens that might have come at `position` and the logarithms of their probabilities, likeliest first:            \
   * raw logits, no sampling parameters. As many as both arrays hold, at most 1,024; returns how many. Known of the token that      \
   * a judged sequence has taken last; else REALM_NOT_FOUND. */                                                                     \
  X(seq_candidates, IMMEDIATE, int32_t,                                                                                             \
    (int32_t sequence, uint32_t position, int32_t * tokens, uint32_t tokens_count, float* logprobs, uint32_t logprobs_count))       \
  /* The same logarithms for tokens of the program's choice; both counts are equal, at most 1,024. */                               \
  X(seq_logprobs, IMMEDIATE, int32_t,                                                                                               \
    (int32_t sequence, uint32_t position, const int32_t* tokens, uint32_t tokens_count, float* logprobs, uint32_t logprobs_count))  \
  /* The whole row of raw logits there; returns how many it has. */                                                                 \
  X(seq_logits, IMMEDIATE, int32_t, (int32_t sequence, uint32_t position, float* logits, uint32_t capacity))

/* Module "env": the tensor level. The names are those that programs know from elsewhere; "memory64" is the store of models, "candle"
 * computes. Every one but the first is REALM_LIMIT when the program's manifest does not name `tensors`. Products take at most
 * 2^34 multiplications, no count above 2^20, and count as CPU time of the program; of each the output must not overlap the inputs. */
#define REALM_ENV_FUNCTIONS(X)                                                                                                         \
  /* 1 when this program may use the functions below, else 0. */                                                                       \
  X(memory64_is_enabled, IMMEDIATE, int32_t, (void))                                                                                   \
  X(memory64_stats, IMMEDIATE, int32_t, (int32_t model, realm_weights_stats_t * stats))                                                \
  /* A value of the model file's metadata, such as that of "llama.attention.head_count", as text; returns its length. */               \
  X(memory64_metadata, IMMEDIATE, int32_t, (int32_t model, const uint8_t* key, uint32_t key_count, uint8_t* value, uint32_t capacity)) \
  /* Says that a layer's weights will be used, so that they are read from the disk if need be; returns how many tensors it has. */     \
  X(memory64_load_layer, IMMEDIATE, int32_t, (int32_t model, uint32_t layer))                                                          \
  /* A handle of the tensor that has a name in the model file, such as "blk.0.attn_q.weight". */                                       \
  X(memory64_tensor, IMMEDIATE, int32_t, (int32_t model, const uint8_t* name, uint32_t count))                                         \
  X(memory64_tensor_info, IMMEDIATE, int32_t, (int32_t tensor, realm_tensor_info_t * info))                                            \
  /* The name of the type of its values, such as "q4_1"; returns its length. */                                                        \
  X(memory64_tensor_type, IMMEDIATE, int32_t, (int32_t tensor, uint8_t * destination, uint32_t capacity))                              \
  X(memory64_tensor_close, IMMEDIATE, int32_t, (int32_t tensor))                                                                       \
  /* Whole rows from `row` on, as floats: `count` is a multiple of its columns, at most 2^20. Returns how many values were written. */ \
  X(memory64_read, IMMEDIATE, int32_t, (int32_t tensor, uint32_t row, float* values, uint32_t count))                                  \
  /* out[m][n] = a[m][k] times b[k][n]. The counts are m * k, k * n and m * n. */                                                      \
  X(candle_matmul, MAY_SUSPEND, int32_t,                                                                                               \
    (const float* a, uint32_t a_count, const float* b, uint32_t b_count, float* out, uint32_t out_count, uint32_t m, uint32_t k,       \
     uint32_t n))                                                                                                                      \
  /* The same with b[n][k]: out[i][j] is the product of row i of a and row j of b. */                                                  \
  X(candle_matmul_transposed, MAY_SUSPEND, int32_t,                                                                                    \
    (const float* a, uint32_t a_count, const float* b, uint32_t b_count, float* out, uint32_t out_count, uint32_t m, uint32_t k,       \
     uint32_t n))                                                                                                                      \
  /* out[i][j] is the product of row i of x, which has `rows` of them, and row j of the tensor, which stays in the host. */            \
  X(candle_matmul_tensor, MAY_SUSPEND, int32_t,                                                                                        \
    (int32_t tensor, const float* x, uint32_t x_count, float* out, uint32_t out_count, uint32_t rows))

#ifdef __wasm__
#define REALM_ABI_DECLARE(name, waits, result, parameters) \
  __attribute__((import_module("realm"), import_name(#name))) result realm_##name parameters;
#define REALM_ENV_DECLARE(name, waits, result, parameters) __attribute__((import_module("env"), import_name(#name))) result name parameters;
#ifdef __cplusplus
extern "C" {
#endif
REALM_ABI_FUNCTIONS(REALM_ABI_DECLARE)
REALM_ENV_FUNCTIONS(REALM_ENV_DECLARE)
#ifdef __cplusplus
}
#endif
#undef REALM_ABI_DECLARE
#undef REALM_ENV_DECLARE
#endif

#endif
