// An agent whose tools are the caller's. When the model calls one, the answer says so and names a session; the caller runs the tool
// and comes back with the session and the result. Meanwhile the whole conversation stays with its KV as a saved sequence, so that a
// turn costs no more than what is new in it.
//
//   {"question": "...", "tools": [{"name": "...", "description": "..."}],
//    "examples": [{"question": "...", "tool": "...", "argument": "...", "result": "...", "answer": "..."}]}
//   {"session": "...", "result": "..."}                          the next turn
//   {"call": {"tool": "...", "argument": "..."}, "session": "...", "tokens": 200, "computed": 20}
//   {"answer": "...", "calls": 1, "tokens": 220, "computed": 20}

#include "realm_json.hpp"

REALM_EXPORT("realm_abi_v1") void REALM_ABI_MARKER() {}

namespace {

constexpr uint32_t line_tokens_max = 64, calls_max = 8, tokens_max = 1'024;

class Agent {
 public:
  // `session`: where an earlier turn left off; empty: a new conversation.
  Agent(const realm::Model& model, const std::string& session) : model_(model), sequence_(open(model, session)) {
    if (session.empty()) {
      sequence_.append(model.tokenize("Questions are answered with the help of tools.\n", REALM_TOKENIZE_ADD_SPECIAL));
    }
    sequence_.sampler(realm::greedy(REALM_SAMPLER_JUDGED));
    inherited_ = session.empty() ? 0 : sequence_.length();
  }

  void read(const std::string& text) { sequence_.append(model_.tokenize(text, 0)); }
  void write(const std::string& text) {
    const auto tokens = model_.tokenize(text, 0);
    if (!sequence_.push(tokens.data(), static_cast<uint32_t>(tokens.size()))) realm::fail(REALM_FAIL_CONTEXT_EXCEEDED, "too long");
  }
  // Writes the one of the texts that the model finds likeliest.
  size_t choose(const std::vector<std::string>& texts) {
    const uint32_t position = sequence_.length();
    std::vector<double> logprobs;
    for (const std::string& text : texts) logprobs.push_back(logprob(position, model_.tokenize(text, 0)));
    const size_t best = realm::index_of_best(logprobs, [](double one) { return one; });
    write(texts[best]);
    return best;
  }
  // What the model writes up to one of the characters `ends`, which is left out.
  std::string line(const char* ends) {
    std::string text;
    for (uint32_t i = 0; i < line_tokens_max; ++i) {
      const uint32_t position = sequence_.length();
      const auto token = sequence_.next();
      const std::string piece = !token || model_.ends_generation(*token) ? ends : model_.text_of(*token);
      const size_t end = piece.find_first_of(ends);
      text += piece.substr(0, end);
      if (end == std::string::npos) continue;
      sequence_.truncate(position);
      if (end > 0) write(piece.substr(0, end));
      break;
    }
    return text;
  }
  void save(const std::string& session) {
    if (!sequence_.save(session)) realm::fail(REALM_FAIL_UNAVAILABLE, "too many sessions are open");
  }
  realm::json::Object counts() const {
    return realm::json::Object().number("tokens", sequence_.length()).number("computed", sequence_.length() - inherited_);
  }

 private:
  static realm::Sequence open(const realm::Model& model, const std::string& session) {
    if (session.empty()) return realm::Sequence(model, tokens_max);
    auto loaded = realm::Sequence::load(model, session, tokens_max);
    if (!loaded) realm::fail(REALM_FAIL_BAD_REQUEST, "session: there is none of this name");
    return std::move(*loaded);
  }
  double logprob(uint32_t position, const std::vector<int32_t>& tokens) {
    double sum = 0;
    auto fork = sequence_.fork();
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      const auto drawn = fork.next();
      if (!drawn) realm::fail(REALM_FAIL_CONTEXT_EXCEEDED, "too long");
      sum += fork.logprob(position + i, tokens[i]);
      if (*drawn != tokens[i]) fork.put(position + i, tokens[i]);
    }
    return sum;
  }

  const realm::Model& model_;
  realm::Sequence sequence_;
  uint32_t inherited_ = 0;
};

void introduce(Agent& agent, const realm::json::Value& request) {
  for (const auto& tool : request.list("tools").items) agent.read("- " + tool.text("name") + ": " + tool.text("description", "") + "\n");
  for (const auto& example : request.list("examples").items) {
    agent.read("\nQuestion: " + example.text("question") + "\nCall: " + example.text("tool") + "(" + example.text("argument") +
               ")\nResult: " + example.text("result") + "\nAnswer: " + example.text("answer") + "\n");
  }
}

std::string new_session() {
  uint8_t bytes[16];
  realm::require(realm_random(bytes, sizeof bytes), "random");
  std::string name;
  for (const uint8_t byte : bytes) name += "0123456789abcdef"[byte >> 4], name += "0123456789abcdef"[byte & 15];
  return name;
}

}  // namespace

REALM_EXPORT("handle") int32_t handle() {
  const auto request = realm::json::parse(realm::read_request());
  const realm::Model model(request.text("model", ""));
  // A session is named by how many calls were made, the tools, and something that nobody guesses.
  const std::string session = request.text("session", "");
  Agent agent(model, session);
  std::vector<std::string> tools;
  uint32_t calls = 0;
  std::string secret;
  if (session.empty()) {
    introduce(agent, request);
    for (const auto& tool : request.list("tools").items) tools.push_back(tool.text("name"));
    agent.read("\nQuestion: " + request.text("question") + "\n");
    secret = new_session();
  } else {
    agent.read(")\nResult: " + request.text("result") + "\n");
    const auto state = realm::json::parse(session);
    calls = state.integer("calls", 0, 0, calls_max);
    tools = state.texts("tools");
    secret = state.text("secret");
    realm::Sequence::forget(model, session);
  }
  const bool answers = calls == calls_max || agent.choose({"Call:", "Answer:"}) == 1;
  if (answers) {
    if (calls == calls_max) agent.write("Answer:");
    const std::string answer = agent.line("\n");
    realm::json::answer(agent.counts().text("answer", answer).number("calls", calls));
    return 0;
  }
  std::vector<std::string> beginnings;
  for (const std::string& tool : tools) beginnings.push_back(" " + tool + "(");
  const size_t tool = agent.choose(beginnings);
  const auto call = realm::json::Object().text("tool", tools[tool]).text("argument", agent.line(")\n"));
  const std::string next = realm::json::Object()
                               .number("calls", calls + 1)
                               .raw("tools", realm::json::list(tools, realm::json::quote))
                               .text("secret", secret)
                               .str();
  agent.save(next);
  realm::json::answer(agent.counts().raw("call", call.str()).text("session", next));
  return 0;
}
