// Tree of thoughts (Yao et al., arXiv 2305.10601): the model proposes several next thoughts, judges each of them, and only the
// best are thought on. Every thought is a fork, so the task and the thoughts before are computed once.
//
//   {"task": "...", "depth": 3, "branches": 3, "keep": 2, "thought_tokens": 24, "seed": 1}
//   {"answer": "...", "thoughts": ["..."], "value": 0.7, "judged": 15}   value: how sure the model is of the last thought, 0 to 1
#include <algorithm>
#include <cmath>

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr float temperature = 0.9f;
constexpr const char* question = "\nAre these good steps towards the task? Answer yes or no: ";

struct Thought {
  realm::Sequence sequence;
  std::vector<std::string> texts{};  // of it and of those before
  std::string line{};                // being written
  double value = 0;
};

class Thinker {
 public:
  Thinker(const realm::Model& model, uint32_t line_tokens_max) : model_(model), line_tokens_max_(line_tokens_max) {}

  // A line of each, in the same steps.
  void write_lines(std::vector<Thought>& thoughts, const std::string& beginning) {
    std::vector<Thought*> open;
    for (Thought& thought : thoughts) {
      thought.line.clear();
      thought.sequence.append(model_.tokenize(beginning, 0));
      open.push_back(&thought);
    }
    for (uint32_t i = 0; i < line_tokens_max_ && !open.empty(); ++i) {
      const auto tokens = realm::next_of_each(open, [](Thought* one) -> realm::Sequence& { return one->sequence; });
      std::vector<Thought*> still;
      for (size_t k = 0; k < open.size(); ++k) {
        const std::string piece = tokens[k] < 0 || model_.ends_generation(tokens[k]) ? "\n" : model_.text_of(tokens[k]);
        open[k]->line += piece.substr(0, piece.find('\n'));
        if (piece.find('\n') == std::string::npos) still.push_back(open[k]);
      }
      open = std::move(still);
    }
  }

  // How sure the model is that each is good, from one more step for all.
  void judge(std::vector<Thought>& thoughts) {
    std::vector<realm::Sequence> judges;
    const auto asked = model_.tokenize(question, 0);
    for (const Thought& thought : thoughts) {
      judges.push_back(thought.sequence.fork());
      judges.back().append(asked);
      judges.back().sampler(realm::greedy(REALM_SAMPLER_JUDGED));
    }
    realm::next_of_each(judges, [](realm::Sequence& one) -> realm::Sequence& { return one; });
    for (size_t i = 0; i < judges.size(); ++i) {
      const uint32_t position = judges[i].length() - 1;
      const auto odds = [&](const char* word) { return std::exp(judges[i].logprob(position, model_.tokenize(word, 0)[0])); };
      const double yes = odds("yes") + odds("Yes"), no = odds("no") + odds("No");
      thoughts[i].value = yes / (yes + no);
    }
    judged_ += static_cast<uint32_t>(judges.size());
  }
  uint32_t judged() const { return judged_; }

 private:
  const realm::Model& model_;
  uint32_t line_tokens_max_;
  uint32_t judged_ = 0;
};

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  const uint32_t depth = request.integer("depth", 3, 1, 10), branches = request.integer("branches", 3, 1, 16);
  const uint32_t keep = request.integer("keep", 2, 1, 16), line_tokens = request.integer("thought_tokens", 24, 4, 256);
  uint64_t seed = uint64_t{request.integer("seed", 1, 0, 1u << 30)} << 32;
  const auto task = model.tokenize("Task: " + request.text("task") + "\nSteps:", REALM_TOKENIZE_ADD_SPECIAL);

  Thinker thinker(model, line_tokens);
  std::vector<Thought> kept;
  kept.push_back({realm::Sequence(model, static_cast<uint32_t>(task.size()) + (depth + 1) * (line_tokens + 8) + 32)});
  kept[0].sequence.append(task);
  for (uint32_t level = 1; level <= depth; ++level) {
    std::vector<Thought> next;
    for (const Thought& parent : kept) {
      for (uint32_t i = 0; i < branches; ++i) {
        next.push_back({parent.sequence.fork(), parent.texts});
        next.back().sequence.sampler(realm::drawn(temperature, ++seed));
      }
    }
    thinker.write_lines(next, "\n" + std::to_string(level) + ".");
    for (Thought& thought : next) thought.texts.push_back(thought.line);
    thinker.judge(next);
    std::stable_sort(next.begin(), next.end(), [](const Thought& a, const Thought& b) { return a.value > b.value; });
    next.erase(next.begin() + std::min<ptrdiff_t>(keep, std::ssize(next)), next.end());
    kept = std::move(next);
  }
  kept.erase(kept.begin() + 1, kept.end());
  kept[0].sequence.sampler(realm::greedy());
  thinker.write_lines(kept, "\nAnswer:");
  realm::json::answer(realm::json::Object()
                          .text("answer", kept[0].line)
                          .raw("thoughts", realm::json::list(kept[0].texts, realm::json::quote))
                          .number("value", kept[0].value)
                          .number("judged", thinker.judged()));
  return 0;
}
