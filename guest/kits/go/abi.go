// The program ABI, written by tools/generate_kits.py from abi/realm_abi.h. docs/programs.md explains it.

package realm

import (
	"structs"
	"unsafe"
)

const (
	REALM_OK                       = 0
	REALM_INVALID_ARGUMENT         = -1
	REALM_BAD_HANDLE               = -2
	REALM_FAULT                    = -3
	REALM_LIMIT                    = -4
	REALM_NOT_FOUND                = -5
	REALM_CONTEXT_FULL             = -6
	REALM_UNAVAILABLE              = -7
	REALM_CANCELLED                = -8
	REALM_UNSUPPORTED              = -9
	REALM_FAIL_BAD_REQUEST         = 1
	REALM_FAIL_CONTEXT_EXCEEDED    = 2
	REALM_FAIL_MODEL_NOT_FOUND     = 3
	REALM_FAIL_UNAVAILABLE         = 4
	REALM_FAIL_PROGRAM             = 5
	REALM_EMIT_TEXT                = 1
	REALM_EMIT_SUMMARY             = 2
	REALM_EMIT_BODY                = 3
	REALM_EMIT_EVENT               = 4
	REALM_CONTENT_JSON             = 1
	REALM_CONTENT_EVENTS           = 2
	REALM_CONTENT_TEXT             = 3
	REALM_CONTENT_BYTES            = 4
	REALM_REQUEST_ROUTE            = 1
	REALM_REQUEST_ID               = 2
	REALM_LOG_DEBUG                = 0
	REALM_LOG_INFO                 = 1
	REALM_LOG_WARNING              = 2
	REALM_LOG_ERROR                = 3
	REALM_TOKENIZE_ADD_SPECIAL     = 1
	REALM_TOKENIZE_PARSE_SPECIAL   = 2
	REALM_DETOKENIZE_SPECIAL       = 1
	REALM_TOKEN_END_OF_GENERATION  = 1
	REALM_TOKEN_CONTROL            = 2
	REALM_TEXT_CHAT_TEMPLATE       = 1
	REALM_TEXT_CHAT_TEMPLATE_TOOLS = 2
	REALM_TEXT_ARCHITECTURE        = 3
	REALM_TEXT_QUANTIZATION        = 4
	REALM_TEXT_RERANK_TEMPLATE     = 6
	REALM_TEXT_NAME                = 5
	REALM_PRIORITY_LOW             = 0
	REALM_PRIORITY_NORMAL          = 1
	REALM_PRIORITY_HIGH            = 2
	REALM_SAMPLER_STOP_AT_END      = 1
	REALM_SAMPLER_JUDGED           = 2
	REALM_SEQUENCE_EMBEDS          = 1
)

type ModelInfo struct {
	_                    structs.HostLayout
	ContextTokensMax     uint32
	ContextTokensTrained uint32
	VocabularyTokens     uint32
	BosToken             int32
	EosToken             int32
	EotToken             int32
	AddsBos              uint32
	AddsEos              uint32
	EmbeddingValues      uint32
	Ranks                uint32
}

type SequenceParams struct {
	_         structs.HostLayout
	TokensMax uint32
	Priority  uint32
	Flags     uint32
	Reserved  uint32
}

type SamplerParams struct {
	_                 structs.HostLayout
	Temperature       float32
	TopK              int32
	TopP              float32
	MinP              float32
	TypicalP          float32
	RepetitionPenalty float32
	FrequencyPenalty  float32
	PresencePenalty   float32
	PenaltyLastN      int32
	Flags             uint32
	Seed              uint64
	NewTokensMax      uint32
	Reserved          uint32
}

type SequenceStats struct {
	_               structs.HostLayout
	Tokens          uint32
	PromptTokens    uint32
	CachedTokens    uint32
	GeneratedTokens uint32
	DiscardedTokens uint32
	Reserved        uint32
	QueueNs         uint64
	PrefillNs       uint64
	DecodeNs        uint64
}

type WeightsStats struct {
	_          structs.HostLayout
	Bytes      uint64
	Parameters uint64
	Tensors    uint32
	Layers     uint32
}

type TensorInfo struct {
	_        structs.HostLayout
	Bytes    uint64
	Columns  uint32
	Rows     uint32
	Readable uint32
	Products uint32
}

// Bytes of the request.
//
//go:wasmimport realm input_size
//go:noescape
func abiInputSize() int32

// Copies request bytes from `offset` on; returns how many were copied, 0 at the end.
//
//go:wasmimport realm input_read
//go:noescape
func abiInputRead(destination unsafe.Pointer, capacity uint32, offset uint32) int32

// How the request came in (enum realm_request_text); returns the text's length.
//
//go:wasmimport realm request_text
//go:noescape
func abiRequestText(which uint32, destination unsafe.Pointer, capacity uint32) int32

// Announces an HTTP status (200 to 599) and a content (enum realm_content), once, before the first emit. A
// request that came in by a route is answered with it; the kinds REALM_EMIT_BODY and REALM_EMIT_EVENT need it.
//
//go:wasmimport realm respond
//go:noescape
func abiRespond(status uint32, content uint32) int32

// Hands a chunk to the client. Suspends while the client's buffer is full. REALM_CANCELLED when it has gone.
//
//go:wasmimport realm emit
//go:noescape
func abiEmit(kind uint32, bytes unsafe.Pointer, count uint32) int32

// A line for the operator's log, cut at 1 KiB; more than 64 lines a request are counted and dropped.
//
//go:wasmimport realm log
//go:noescape
func abiLog(level uint32, text unsafe.Pointer, count uint32) int32

// Nanoseconds since the request began, monotonic. Returns the value itself.
//
//go:wasmimport realm clock_ns
//go:noescape
func abiClockNs() int64

// Fills at most 4,096 bytes from the system's generator.
//
//go:wasmimport realm random
//go:noescape
func abiRandom(destination unsafe.Pointer, count uint32) int32

// Ends the instance with enum realm_failure and a message for the caller (cut at 4 KiB). Does not return.
//
//go:wasmimport realm fail
//go:noescape
func abiFail(failure uint32, message unsafe.Pointer, count uint32) int32

// Ends the instance and runs the same request again in a fresh one, which reads `note` (at most 256 bytes)
// back. It lets a program try something that may trap, such as a template that raises, and go another way the
// second time. At most 4 times a request, and only before the first emit; the limits of the request go on
// counting. Does not return.
//
//go:wasmimport realm restart
//go:noescape
func abiRestart(note unsafe.Pointer, count uint32) int32

// The note of the instance before this one; returns its length, 0 in the first instance.
//
//go:wasmimport realm restart_note
//go:noescape
func abiRestartNote(destination unsafe.Pointer, capacity uint32) int32

// The value that was put under a key (1 to 128 bytes) by this or another request of the realm; returns its
// length.
//
//go:wasmimport realm store_get
//go:noescape
func abiStoreGet(key unsafe.Pointer, key_count uint32, value unsafe.Pointer, capacity uint32) int32

// Keeps a value of at most 1 MiB under a key, in place of what was there; an empty value deletes. Durable when
// it returns, and never half.
//
//go:wasmimport realm store_put
//go:noescape
func abiStorePut(key unsafe.Pointer, key_count uint32, value unsafe.Pointer, value_count uint32) int32

// The keys that begin with `prefix`, in the order of their bytes: for each its length in one byte, and it.
// Returns the bytes of the whole.
//
//go:wasmimport realm store_list
//go:noescape
func abiStoreList(prefix unsafe.Pointer, prefix_count uint32, keys unsafe.Pointer, capacity uint32) int32

// Leases a model by name (empty: the host's default) and returns its handle. Suspends while it loads.
//
//go:wasmimport realm model_open
//go:noescape
func abiModelOpen(name unsafe.Pointer, count uint32) int32

//go:wasmimport realm model_close
//go:noescape
func abiModelClose(model int32) int32

//go:wasmimport realm model_info
//go:noescape
func abiModelInfo(model int32, info unsafe.Pointer) int32

// One of the model's texts; returns its length in bytes.
//
//go:wasmimport realm model_text
//go:noescape
func abiModelText(model int32, which uint32, destination unsafe.Pointer, capacity uint32) int32

// Text to token ids; returns how many. At most 1 MiB of text a call; its CPU time is the caller's.
//
//go:wasmimport realm tokenize
//go:noescape
func abiTokenize(model int32, flags uint32, text unsafe.Pointer, text_count uint32, tokens unsafe.Pointer, capacity uint32) int32

// Token ids to bytes, which need not be whole UTF-8 characters; returns how many bytes.
//
//go:wasmimport realm detokenize
//go:noescape
func abiDetokenize(model int32, flags uint32, tokens unsafe.Pointer, tokens_count uint32, destination unsafe.Pointer, capacity uint32) int32

// enum realm_token_flags of one token id.
//
//go:wasmimport realm token_flags
//go:noescape
func abiTokenFlags(model int32, token int32) int32

// The text of every token that stands for text (no control tokens, none longer than 255 bytes), in the order
// of the bytes. For each: its id in 4 bytes, lowest first; how many bytes it shares with the one before, at
// most 255; how many follow; those. Returns the bytes of the whole.
//
//go:wasmimport realm model_vocabulary
//go:noescape
func abiModelVocabulary(model int32, destination unsafe.Pointer, capacity uint32) int32

// A new empty sequence; returns its handle. KV cells are reserved when it first computes.
//
//go:wasmimport realm seq_open
//go:noescape
func abiSeqOpen(model int32, params unsafe.Pointer) int32

// A new sequence with the first `length` tokens of this one, its sampler and its parameters of seq_open;
// returns its handle. Their KV is copied, not computed again; a prompt that nobody has computed yet is
// computed once for all forks.
//
//go:wasmimport realm seq_fork
//go:noescape
func abiSeqFork(sequence int32, length uint32) int32

// Saves the tokens of the sequence, with their KV and its sampler, for later requests of this realm; replaces
// what has the name (1 to 128 bytes). It stays in memory, until it is forgotten, or the model or the realm is
// unloaded.
//
//go:wasmimport realm seq_save
//go:noescape
func abiSeqSave(sequence int32, name unsafe.Pointer, count uint32) int32

// A new sequence that begins with what was saved; returns its handle.
//
//go:wasmimport realm seq_load
//go:noescape
func abiSeqLoad(model int32, name unsafe.Pointer, count uint32, params unsafe.Pointer) int32

//go:wasmimport realm seq_forget
//go:noescape
func abiSeqForget(model int32, name unsafe.Pointer, count uint32) int32

//go:wasmimport realm seq_close
//go:noescape
func abiSeqClose(sequence int32) int32

// Tokens as the program sees them: appended and taken, not what the host computed ahead.
//
//go:wasmimport realm seq_length
//go:noescape
func abiSeqLength(sequence int32) int32

// Adds tokens at the end; what was computed ahead is dropped. Prefill begins with the first seq_next.
//
//go:wasmimport realm seq_append
//go:noescape
func abiSeqAppend(sequence int32, tokens unsafe.Pointer, count uint32) int32

// Keeps the first `length` tokens.
//
//go:wasmimport realm seq_truncate
//go:noescape
func abiSeqTruncate(sequence int32, length uint32) int32

//go:wasmimport realm seq_stats
//go:noescape
func abiSeqStats(sequence int32, stats unsafe.Pointer) int32

// The vector of all tokens of a sequence opened with REALM_SEQUENCE_EMBEDS: pooled as the model's file says,
// the mean of its tokens' when it says nothing; not normalised. Suspends until it is there. Returns how many
// values it has.
//
//go:wasmimport realm seq_embed
//go:noescape
func abiSeqEmbed(sequence int32, values unsafe.Pointer, capacity uint32) int32

// Declares how the next tokens are drawn, with additive biases for given token ids (at most 1,024). May be
// changed between tokens; what was computed ahead under the old one is dropped. A new sequence samples
// greedily.
//
//go:wasmimport realm seq_sampler
//go:noescape
func abiSeqSampler(sequence int32, params unsafe.Pointer, bias_tokens unsafe.Pointer, bias_tokens_count uint32, bias_values unsafe.Pointer, bias_values_count uint32) int32

// The next sampled tokens, at least one, at most `capacity`, as many as the host has run ahead. Suspends until
// there is one. REALM_CONTEXT_FULL when the sequence cannot grow.
//
//go:wasmimport realm seq_next
//go:noescape
func abiSeqNext(sequence int32, tokens unsafe.Pointer, capacity uint32) int32

// Waits until seq_next would answer at once for at least one of the sequences, be it with tokens or with an
// error, and writes the handles of all those; returns how many. `ready` has room for as many as there are
// sequences.
//
//go:wasmimport realm seq_next_any
//go:noescape
func abiSeqNextAny(sequences unsafe.Pointer, sequences_count uint32, ready unsafe.Pointer, ready_count uint32) int32

// Takes back the tokens from `position` on, and forbids `banned` as the next token there. The host rolls back;
// what follows is what it would have been had the host never run ahead. The bans of a position add up until
// the token there is followed by another, so that rejecting one token after the other comes to an end; with
// none the bans there are lifted.
//
//go:wasmimport realm seq_reject
//go:noescape
func abiSeqReject(sequence int32, position uint32, banned unsafe.Pointer, count uint32) int32

// Names the tokens that may come at `position`, at most seq_length: token i is bit (i % 8) of byte (i / 8),
// and the bitmap has a bit for every token of the vocabulary. A token there that is not allowed, and what
// follows it, is taken back. What is drawn is what repeated rejection would lead to, whether the mask comes
// before the draw or after it. Holds as bans do.
//
//go:wasmimport realm seq_mask
//go:noescape
func abiSeqMask(sequence int32, position uint32, allowed unsafe.Pointer, count uint32) int32

// Tokens that the program expects next, at most 16. The host computes them along with the next step and keeps
// those that it would have drawn: what comes is the same, in fewer steps. Without effect on a judged sequence,
// and while other realms compute.
//
//go:wasmimport realm seq_guess
//go:noescape
func abiSeqGuess(sequence int32, tokens unsafe.Pointer, count uint32) int32

// Adds tokens that the program has chosen itself; they count as generated. The sequence must not be empty.
//
//go:wasmimport realm seq_push
//go:noescape
func abiSeqPush(sequence int32, tokens unsafe.Pointer, count uint32) int32

// The likeliest tokens that might have come at `position` and the logarithms of their probabilities, likeliest
// first: raw logits, no sampling parameters. As many as both arrays hold, at most 1,024; returns how many.
// Known of the token that a judged sequence has taken last; else REALM_NOT_FOUND.
//
//go:wasmimport realm seq_candidates
//go:noescape
func abiSeqCandidates(sequence int32, position uint32, tokens unsafe.Pointer, tokens_count uint32, logprobs unsafe.Pointer, logprobs_count uint32) int32

// The same logarithms for tokens of the program's choice; both counts are equal, at most 1,024.
//
//go:wasmimport realm seq_logprobs
//go:noescape
func abiSeqLogprobs(sequence int32, position uint32, tokens unsafe.Pointer, tokens_count uint32, logprobs unsafe.Pointer, logprobs_count uint32) int32

// The whole row of raw logits there; returns how many it has.
//
//go:wasmimport realm seq_logits
//go:noescape
func abiSeqLogits(sequence int32, position uint32, logits unsafe.Pointer, capacity uint32) int32

// 1 when this program may use the functions below, else 0.
//
//go:wasmimport env memory64_is_enabled
//go:noescape
func abiMemory64IsEnabled() int32

//go:wasmimport env memory64_stats
//go:noescape
func abiMemory64Stats(model int32, stats unsafe.Pointer) int32

// A value of the model file's metadata, such as that of "llama.attention.head_count", as text; returns its
// length.
//
//go:wasmimport env memory64_metadata
//go:noescape
func abiMemory64Metadata(model int32, key unsafe.Pointer, key_count uint32, value unsafe.Pointer, capacity uint32) int32

// Says that a layer's weights will be used, so that they are read from the disk if need be; returns how many
// tensors it has.
//
//go:wasmimport env memory64_load_layer
//go:noescape
func abiMemory64LoadLayer(model int32, layer uint32) int32

// A handle of the tensor that has a name in the model file, such as "blk.0.attn_q.weight".
//
//go:wasmimport env memory64_tensor
//go:noescape
func abiMemory64Tensor(model int32, name unsafe.Pointer, count uint32) int32

//go:wasmimport env memory64_tensor_info
//go:noescape
func abiMemory64TensorInfo(tensor int32, info unsafe.Pointer) int32

// The name of the type of its values, such as "q4_1"; returns its length.
//
//go:wasmimport env memory64_tensor_type
//go:noescape
func abiMemory64TensorType(tensor int32, destination unsafe.Pointer, capacity uint32) int32

//go:wasmimport env memory64_tensor_close
//go:noescape
func abiMemory64TensorClose(tensor int32) int32

// Whole rows from `row` on, as floats: `count` is a multiple of its columns, at most 2^20. Returns how many
// values were written.
//
//go:wasmimport env memory64_read
//go:noescape
func abiMemory64Read(tensor int32, row uint32, values unsafe.Pointer, count uint32) int32

// out[m][n] = a[m][k] times b[k][n]. The counts are m * k, k * n and m * n.
//
//go:wasmimport env candle_matmul
//go:noescape
func abiCandleMatmul(a unsafe.Pointer, a_count uint32, b unsafe.Pointer, b_count uint32, out unsafe.Pointer, out_count uint32, m uint32, k uint32, n uint32) int32

// The same with b[n][k]: out[i][j] is the product of row i of a and row j of b.
//
//go:wasmimport env candle_matmul_transposed
//go:noescape
func abiCandleMatmulTransposed(a unsafe.Pointer, a_count uint32, b unsafe.Pointer, b_count uint32, out unsafe.Pointer, out_count uint32, m uint32, k uint32, n uint32) int32

// out[i][j] is the product of row i of x, which has `rows` of them, and row j of the tensor, which stays in
// the host.
//
//go:wasmimport env candle_matmul_tensor
//go:noescape
func abiCandleMatmulTensor(tensor int32, x unsafe.Pointer, x_count uint32, out unsafe.Pointer, out_count uint32, rows uint32) int32
