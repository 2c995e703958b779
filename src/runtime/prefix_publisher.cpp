#include "runtime/prefix_publisher.h"

#include <utility>

#include "base/log.h"
#include "base/thread_name.h"

namespace realm::runtime {
namespace {

constexpr uint32_t queue_deadline_ms = 600'000;

}  // namespace

PrefixPublisher::~PrefixPublisher() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  wake();
  if (thread_.joinable()) thread_.join();
}

void PrefixPublisher::set(std::vector<std::string> texts) {
  {
    std::lock_guard lock(mutex_);
    if (texts.empty() && revision_ == 0) return;
    texts_ = std::move(texts);
    ++revision_;
    if (!thread_.joinable()) thread_ = start_thread("prefixes", [this] { run(); });
  }
  changed_.notify_all();
  wake();
}

void PrefixPublisher::wake() {
  awake_.store(true);
  awake_.notify_one();
}

bool PrefixPublisher::is_superseded(uint64_t revision) {
  std::lock_guard lock(mutex_);
  return stopping_ || revision_ != revision;
}

void PrefixPublisher::run() {
  uint64_t revision = 0;
  while (true) {
    std::vector<std::string> texts;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || revision_ != revision; });
      if (stopping_) return;
      revision = revision_;
      texts = texts_;
    }
    scheduler_.forget_flow(engine::published_flow);
    for (const std::string& text : texts) publish(text, revision);
  }
}

// A sequence of the operator's that ends when its prompt is computed: its KV is then the prefix.
void PrefixPublisher::publish(const std::string& text, uint64_t revision) {
  if (is_superseded(revision)) return;
  const auto tokens = scheduler_.model()->tokenize(text, {.add_special = true, .parse_special = true});
  if (!tokens) return log().warn("a published prefix cannot be used: {}", tokens.error().message);
  auto opened = scheduler_.open({.flow = engine::published_flow,
                                 .tokens_max = static_cast<uint32_t>(tokens->size()) + 1,
                                 .priority = engine::Priority::low,
                                 .keep_prefix = true,
                                 .queue_deadline_ms = queue_deadline_ms,
                                 .on_ready = [this] { wake(); }});
  if (!opened) return log().warn("a published prefix cannot be computed: {}", opened.error().message);
  const std::unique_ptr<engine::Sequence> sequence = std::move(*opened);
  engine::SequenceStatus status = sequence->set_plan({.new_tokens_max = 1});
  if (status == engine::SequenceStatus::ok) status = sequence->append(*tokens);
  while (status == engine::SequenceStatus::ok && !is_superseded(revision)) {
    int32_t token = 0;
    const auto next = sequence->next({&token, 1});
    if (next.count > 0) return;
    status = next.status;
    if (status == engine::SequenceStatus::ok) awake_.wait(false);
    awake_.store(false);
  }
  if (status != engine::SequenceStatus::ok) log().warn("a published prefix cannot be computed: it does not fit the model's context");
}

}  // namespace realm::runtime
