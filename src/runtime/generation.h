// One request: the host's side of its program, and its life from generate() to on_end().
//
// Every function of abi/realm_abi.h is a method here. They run on the worker that runs the instance, one at a time. What comes from
// other threads is cancel(), resume() and the wake-ups of the scheduler.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "abi/realm_abi.h"
#include "engine/products.h"
#include "engine/sequence.h"
#include "runtime/durable_store.h"
#include "runtime/handle_table.h"
#include "runtime/loaded_model.h"
#include "runtime/realm_state.h"
#include "sandbox/sandbox.h"

namespace realm::runtime {

constexpr uint32_t restarts_max = 4;
constexpr uint32_t restart_note_bytes_max = 256;
constexpr uint32_t log_lines_max = 64;
constexpr uint32_t store_puts_max = 256;
constexpr uint32_t log_line_bytes_max = 1'024;
constexpr uint32_t failure_message_bytes_max = 4'096;
constexpr uint32_t random_bytes_max = 4'096;

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(std::shared_ptr<RealmState> realm, Request request, GenerationListener& listener, ModelLookup& models, DurableStore* store,
             sandbox::Sandbox& sandbox, std::shared_ptr<const sandbox::Program> program);

  // Starts the first instance. After success the listener's on_end will be called.
  Result<void> start();
  void cancel();
  void resume();

  // -- the request
  int32_t input_size(sandbox::HostCall& call);
  int32_t input_read(sandbox::HostCall& call, std::span<uint8_t> destination, uint32_t offset);
  std::optional<int32_t> emit(sandbox::HostCall& call, uint32_t kind, std::span<const uint8_t> bytes);
  int32_t request_text(sandbox::HostCall& call, uint32_t which, std::span<uint8_t> destination);
  int32_t respond(sandbox::HostCall& call, uint32_t status, uint32_t content);
  int32_t log(sandbox::HostCall& call, uint32_t level, std::span<const uint8_t> text);
  int64_t clock_ns(sandbox::HostCall& call);
  int32_t random(sandbox::HostCall& call, std::span<uint8_t> destination);
  int32_t fail(sandbox::HostCall& call, uint32_t failure, std::span<const uint8_t> message);
  int32_t restart(sandbox::HostCall& call, std::span<const uint8_t> note);
  int32_t restart_note(sandbox::HostCall& call, std::span<uint8_t> destination);
  // -- the realm's store
  std::optional<int32_t> store_get(sandbox::HostCall& call, std::span<const uint8_t> key, std::span<uint8_t> value);
  std::optional<int32_t> store_put(sandbox::HostCall& call, std::span<const uint8_t> key, std::span<const uint8_t> value);
  std::optional<int32_t> store_list(sandbox::HostCall& call, std::span<const uint8_t> prefix, std::span<uint8_t> keys);
  // -- models
  std::optional<int32_t> model_open(sandbox::HostCall& call, std::span<const uint8_t> name);
  int32_t model_close(sandbox::HostCall& call, int32_t model);
  int32_t model_info(sandbox::HostCall& call, int32_t model, realm_model_info_t& info);
  int32_t model_text(sandbox::HostCall& call, int32_t model, uint32_t which, std::span<uint8_t> destination);
  std::optional<int32_t> tokenize(sandbox::HostCall& call, int32_t model, uint32_t flags, std::span<const uint8_t> text,
                                  std::span<int32_t> tokens);
  int32_t detokenize(sandbox::HostCall& call, int32_t model, uint32_t flags, std::span<const int32_t> tokens,
                     std::span<uint8_t> destination);
  int32_t token_flags(sandbox::HostCall& call, int32_t model, int32_t token);
  int32_t model_vocabulary(sandbox::HostCall& call, int32_t model, std::span<uint8_t> destination);
  // -- sequences
  int32_t seq_open(sandbox::HostCall& call, int32_t model, const realm_sequence_params_t& params);
  int32_t seq_fork(sandbox::HostCall& call, int32_t sequence, uint32_t length);
  int32_t seq_save(sandbox::HostCall& call, int32_t sequence, std::span<const uint8_t> name);
  int32_t seq_load(sandbox::HostCall& call, int32_t model, std::span<const uint8_t> name, const realm_sequence_params_t& params);
  int32_t seq_forget(sandbox::HostCall& call, int32_t model, std::span<const uint8_t> name);
  int32_t seq_close(sandbox::HostCall& call, int32_t sequence);
  int32_t seq_length(sandbox::HostCall& call, int32_t sequence);
  int32_t seq_append(sandbox::HostCall& call, int32_t sequence, std::span<const int32_t> tokens);
  int32_t seq_truncate(sandbox::HostCall& call, int32_t sequence, uint32_t length);
  int32_t seq_stats(sandbox::HostCall& call, int32_t sequence, realm_sequence_stats_t& stats);
  std::optional<int32_t> seq_embed(sandbox::HostCall& call, int32_t sequence, std::span<float> values);
  // -- decoding
  int32_t seq_sampler(sandbox::HostCall& call, int32_t sequence, const realm_sampler_params_t& params, std::span<const int32_t> bias_tokens,
                      std::span<const float> bias_values);
  std::optional<int32_t> seq_next(sandbox::HostCall& call, int32_t sequence, std::span<int32_t> tokens);
  std::optional<int32_t> seq_next_any(sandbox::HostCall& call, std::span<const int32_t> sequences, std::span<int32_t> ready);
  int32_t seq_reject(sandbox::HostCall& call, int32_t sequence, uint32_t position, std::span<const int32_t> banned);
  int32_t seq_mask(sandbox::HostCall& call, int32_t sequence, uint32_t position, std::span<const uint8_t> allowed);
  int32_t seq_guess(sandbox::HostCall& call, int32_t sequence, std::span<const int32_t> tokens);
  int32_t seq_push(sandbox::HostCall& call, int32_t sequence, std::span<const int32_t> tokens);
  int32_t seq_candidates(sandbox::HostCall& call, int32_t sequence, uint32_t position, std::span<int32_t> tokens,
                         std::span<float> logprobs);
  int32_t seq_logprobs(sandbox::HostCall& call, int32_t sequence, uint32_t position, std::span<const int32_t> tokens,
                       std::span<float> logprobs);
  int32_t seq_logits(sandbox::HostCall& call, int32_t sequence, uint32_t position, std::span<float> logits);
  // -- module env: weights and products
  int32_t memory64_is_enabled(sandbox::HostCall& call);
  int32_t memory64_stats(sandbox::HostCall& call, int32_t model, realm_weights_stats_t& stats);
  int32_t memory64_metadata(sandbox::HostCall& call, int32_t model, std::span<const uint8_t> key, std::span<uint8_t> value);
  int32_t memory64_load_layer(sandbox::HostCall& call, int32_t model, uint32_t layer);
  int32_t memory64_tensor(sandbox::HostCall& call, int32_t model, std::span<const uint8_t> name);
  int32_t memory64_tensor_info(sandbox::HostCall& call, int32_t tensor, realm_tensor_info_t& info);
  int32_t memory64_tensor_type(sandbox::HostCall& call, int32_t tensor, std::span<uint8_t> destination);
  int32_t memory64_tensor_close(sandbox::HostCall& call, int32_t tensor);
  int32_t memory64_read(sandbox::HostCall& call, int32_t tensor, uint32_t row, std::span<float> values);
  std::optional<int32_t> candle_matmul(sandbox::HostCall& call, std::span<const float> a, std::span<const float> b, std::span<float> out,
                                       uint32_t m, uint32_t k, uint32_t n);
  std::optional<int32_t> candle_matmul_transposed(sandbox::HostCall& call, std::span<const float> a, std::span<const float> b,
                                                  std::span<float> out, uint32_t m, uint32_t k, uint32_t n);
  std::optional<int32_t> candle_matmul_tensor(sandbox::HostCall& call, int32_t tensor, std::span<const float> x, std::span<float> out,
                                              uint32_t rows);

 private:
  struct OpenModel {
    std::shared_ptr<LoadedModel> loaded;
    std::string name;
  };
  // An open sequence; gives its KV tokens back to the realm when it is dropped.
  struct OpenSequence {
    std::shared_ptr<RealmState> realm;
    std::shared_ptr<LoadedModel> loaded;
    std::unique_ptr<engine::Sequence> sequence;
    realm_sequence_params_t params{};  // that it was opened with
    uint64_t kv_tokens = 0;
    int64_t opened_ns = 0;
    OpenSequence(std::shared_ptr<RealmState> realm, std::shared_ptr<LoadedModel> loaded, const realm_sequence_params_t& params,
                 uint64_t kv_tokens);
    OpenSequence(OpenSequence&& other) noexcept = default;
    OpenSequence& operator=(OpenSequence&& other) noexcept = default;
    ~OpenSequence();
  };

  // A tensor of a model, which stays loaded for it.
  struct OpenTensor {
    std::shared_ptr<LoadedModel> loaded;
    engine::Tensor tensor;
  };
  std::optional<int32_t> multiply(sandbox::HostCall& call, const std::function<Result<engine::Product>()>& begin);

  // Between model_open's first call and its answer. The answer may come after the instance has ended.
  struct OpeningModel {
    std::mutex mutex;
    std::optional<Result<std::shared_ptr<LoadedModel>>> result;  // guarded
  };

  // Between a store function's first call and its answer, likewise.
  struct StoreCall {
    std::mutex mutex;
    std::optional<Result<std::string>> result;  // guarded; of a get the value, of a list the packed keys
  };
  using StoreDone = std::function<void(Result<std::string>)>;
  std::optional<Result<std::string>> store_answer(sandbox::HostCall& call, const std::function<void(StoreDone)>& ask);

  using SequenceOpener = std::function<Result<std::unique_ptr<engine::Sequence>>(engine::SequenceOptions)>;
  int32_t open_sequence(sandbox::HostCall& call, const std::shared_ptr<LoadedModel>& loaded, const realm_sequence_params_t& params,
                        const SequenceOpener& open);

  Result<void> start_instance();
  void instance_ended(sandbox::Outcome&& outcome);
  void finish(Result<void> result);
  Result<void> result_of(const sandbox::Outcome& outcome) const;
  void count(const OpenSequence& sequence);
  bool may_emit(uint32_t kind) const;
  EmitResult offer(uint32_t kind, std::string_view bytes);
  sandbox::InstanceLimits instance_limits() const { return allowance_.limits(realm_->limits.instance); }
  bool may_reserve(uint64_t kv_tokens);  // for one more sequence, by the program's manifest
  void note_first_call();
  void note_missed_deadline(engine::SequenceStatus status);

  const std::shared_ptr<RealmState> realm_;
  const Request request_;
  GenerationListener& listener_;
  ModelLookup& models_;
  DurableStore* const store_;  // null: there is none
  sandbox::Sandbox& sandbox_;
  const std::shared_ptr<const sandbox::Program> program_;
  const int64_t began_ns_;

  AllowanceMeter allowance_{request_.allowance};
  HandleTable<OpenModel, OpenSequence, OpenTensor> handles_;
  GenerationStats stats_;
  std::string scratch_;  // text of tokens, reused from call to call
  std::string note_;     // of the instance before this one
  std::shared_ptr<OpeningModel> opening_;
  std::shared_ptr<StoreCall> storing_;
  std::optional<engine::Product> product_;  // that is not done yet, while the instance waits for its turn
  uint32_t store_puts_ = 0;
  std::optional<Error> host_error_;  // why the host last refused something: a program that gives up for it need not explain
  uint32_t restarts_ = 0;
  bool began_in_background_ = false;  // its latest instance
  uint32_t log_lines_ = 0;
  uint64_t emitted_bytes_ = 0;
  bool summary_emitted_ = false;
  uint16_t status_ = 0;  // of respond(); 0: not called
  uint32_t content_ = 0;
  bool head_delivered_ = false;

  std::mutex mutex_;
  sandbox::InstanceHandle instance_;  // guarded
  sandbox::Waker emit_waker_;         // guarded; set while the listener is full
  std::atomic<bool> cancelled_{false};
};

// Every function that a program may import, bound to the methods above.
std::vector<sandbox::HostFunction> program_abi_functions();

}  // namespace realm::runtime
