#include "http/inference.h"

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <cmath>

#include "base/log.h"
#include "http/problem.h"
#include "http/response_stream.h"
#include "http/routes.h"
#include "http/tenant_limits.h"
#include "http/wake_signal.h"

namespace realm::http {
namespace {

namespace asio = boost::asio;

std::string milliseconds(uint64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(ns) / 1e6);
  return text;
}

// As OpenAI writes durations: "1s", "6m0s", "20ms".
std::string duration(uint64_t ms) {
  if (ms < 1'000) return std::to_string(ms) + "ms";
  const uint64_t seconds = (ms + 999) / 1'000;
  return seconds < 60 ? std::to_string(seconds) + "s" : std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s";
}

std::string_view content_type(runtime::Content content) {
  switch (content) {
    case runtime::Content::json:
      return "application/json";
    case runtime::Content::events:
      return "text/event-stream; charset=utf-8";
    case runtime::Content::text:
      return "text/plain; charset=utf-8";
    case runtime::Content::bytes:
      break;
  }
  return "application/octet-stream";
}

}  // namespace

HeaderList rate_headers(const tenants::RateState& state) {
  HeaderList headers;
  const auto add = [&headers](const std::string& what, uint64_t limit, uint64_t remaining, uint64_t reset_ms) {
    if (limit == 0) return;
    headers.emplace_back("x-ratelimit-limit-" + what, std::to_string(limit));
    headers.emplace_back("x-ratelimit-remaining-" + what, std::to_string(remaining));
    headers.emplace_back("x-ratelimit-reset-" + what, duration(reset_ms));
  };
  add("requests", state.requests_limit, state.requests_remaining, state.requests_reset_ms);
  add("tokens", state.tokens_limit, state.tokens_remaining, state.tokens_reset_ms);
  return headers;
}

// What is settled when the program has ended, whether or not its client still listens.
struct Inference::Account {
  ResidentRealms::Use use;
  TenantCall call;
  std::string request_id;
  std::string traceparent;
  std::string route;
  ServerMetrics& metrics;
  tenants::Tenants& tenants;

  void close(const Result<void>& result, const runtime::GenerationStats& stats) {
    const std::string outcome = result ? "ok" : std::string(error_code_name(result.error().code));
    call.admission.settle(stats.prompt_tokens + stats.completion_tokens);
    metrics.request_ended(call.realm->name, outcome, stats);
    tenants.record({.realm_id = call.realm->id,
                    .realm = call.realm->name,
                    .model = stats.model,
                    .key_id = call.key_id,
                    .requests = 1,
                    .errors = result ? 0u : 1u,
                    .prompt_tokens = stats.prompt_tokens,
                    .cached_tokens = stats.cached_tokens,
                    .completion_tokens = stats.completion_tokens,
                    .guest_cpu_us = stats.guest_cpu_ns / 1'000,
                    .kv_token_ms = stats.kv_token_ms});
    const double decode_s = static_cast<double>(stats.decode_ns) / 1e9;
    char rate[32];
    std::snprintf(rate, sizeof rate, "%.1f", decode_s > 0 && stats.completion_tokens > 1 ? (stats.completion_tokens - 1) / decode_s : 0.0);
    log_fields(spdlog::level::info, "request",
               {{"request_id", request_id},
                {"traceparent", traceparent},
                {"realm", call.realm->name},
                {"key", call.key_id},
                {"route", route},
                {"outcome", outcome},
                {"error", result ? "" : result.error().message},
                {"model", stats.model},
                {"prompt_tokens", std::to_string(stats.prompt_tokens)},
                {"cached_tokens", std::to_string(stats.cached_tokens)},
                {"completion_tokens", std::to_string(stats.completion_tokens)},
                {"queue_ms", milliseconds(stats.queue_ns)},
                {"prefill_ms", milliseconds(stats.prefill_ns)},
                {"decode_ms", milliseconds(stats.decode_ns)},
                {"ttft_ms", milliseconds(stats.time_to_first_token_ns)},
                {"wall_ms", milliseconds(stats.wall_ns)},
                {"guest_cpu_ms", milliseconds(stats.guest_cpu_ns)},
                {"tokens_per_second", rate}});
  }
};

struct Inference::Answer {
  std::shared_ptr<WakeSignal> signal;
  std::shared_ptr<ResponseStream> stream;
  runtime::GenerationHandle generation;
  HeaderList headers;
  std::string realm;
  Served served;
  bool begun = false;  // the head is out

  // The connection may go at any point of its coroutine; the program then hears of it here.
  ~Answer() {
    signal->detach();
    stream->abandon();
    if (!finished) generation.cancel();
  }
  bool finished = false;
};

Problem Inference::problem_with_retry(const Error& error, std::string_view realm) const {
  Problem problem = problem_of(error);
  if (problem.retry_after_s > 0) problem.retry_after_s = metrics_.retry_after_s(realm);
  return problem;
}

asio::awaitable<void> Inference::refuse(const Request& request, const Problem& problem, const tenants::RateState& rate, ClientIo& client,
                                        Served& served) {
  metrics_.refused(problem.code);
  Response response = problem_response(protocol_of(request.path), problem, request.id);
  for (auto& header : rate_headers(rate)) response.headers.push_back(std::move(header));
  served.status = problem.status;
  const bool sent = co_await client.respond(request, response);
  served.client_gone = !sent;
}

asio::awaitable<Served> Inference::serve(const Request& request, TenantCall call, ClientIo& client) {
  using namespace asio::experimental::awaitable_operators;
  Served served;
  const tenants::RateState rate = call.admission.state();
  const tenants::RealmPointer realm = call.realm;
  const asio::any_io_executor executor = client.executor();
  auto chosen = co_await programs_.choose(request, realm, executor);
  if (!chosen) {
    const Problem problem = problem_with_retry(chosen.error(), realm->name);
    co_await refuse(request, problem, rate, client, served);
    co_return served;
  }
  auto use = residents_.use(call.realm->id, call.realm->revision, runtime_limits(*call.realm, realm_defaults_));
  if (!use) {
    const Problem problem = problem_with_retry(use.error(), realm->name);
    co_await refuse(request, problem, rate, client, served);
    co_return served;
  }
  const runtime::RealmHandle handle = use->realm();
  auto account = std::make_shared<Account>(
      Account{std::move(*use), std::move(call), request.id, request.traceparent, request.route(), metrics_, tenants_});
  Answer answer;
  answer.headers = rate_headers(rate);
  answer.realm = realm->name;
  answer.signal = std::make_shared<WakeSignal>(client.executor());
  answer.stream = std::make_shared<ResponseStream>(
      limits_, [signal = answer.signal] { signal->wake(); },
      [account](const Result<void>& result, const runtime::GenerationStats& stats) { account->close(result, stats); });
  answer.stream->hold(answer.stream);
  metrics_.request_began(account->call.realm->name);
  runtime::Request wanted{.body = request.body, .route = request.route(), .id = request.id};
  wanted.program = std::move(chosen->program);
  wanted.allowance = std::move(chosen->allowance);
  auto generation = runtime_.generate(handle, std::move(wanted), *answer.stream);
  if (!generation) {
    answer.finished = true;
    answer.stream->release();
    account->close(std::unexpected(generation.error()), {});
    const Problem problem = problem_with_retry(generation.error(), realm->name);
    co_await refuse(request, problem, rate, client, served);
    co_return served;
  }
  answer.generation = *generation;
  co_await (pump(request, answer, client) || client.closed());
  if (!answer.finished) {
    answer.served.client_gone = true;
    metrics_.client_gone();
  }
  co_return answer.served;
}

asio::awaitable<void> Inference::pump(const Request& request, Answer& answer, ClientIo& client) {
  const Protocol protocol = protocol_of(request.path);
  while (true) {
    ResponseStream::Taken taken = answer.stream->take();
    if (taken.made_room) answer.generation.resume();
    const bool failed = taken.ended && !*taken.ended;
    const bool streams = taken.head && taken.content == runtime::Content::events && (answer.begun || !failed || !taken.bytes.empty());
    if (streams) {
      answer.served.status = taken.status;
      if (!answer.begun) {
        Response head{
            .status = taken.status, .content_type = std::string(content_type(taken.content)), .body = {}, .headers = answer.headers};
        head.headers.emplace_back("Cache-Control", "no-cache");
        head.headers.emplace_back("X-Accel-Buffering", "no");
        answer.begun = co_await client.begin(request, head);
        if (!answer.begun) co_return;
      }
      if (failed) {
        append_event(taken.bytes, protocol == Protocol::anthropic ? "error" : "",
                     problem_event(protocol, problem_of(taken.ended->error()), request.id));
      }
      const bool written = co_await client.write(taken.bytes);
      if (!written) co_return;
      if (taken.ended) {
        answer.finished = co_await client.end();
        co_return;
      }
    } else if (taken.ended) {
      Response response;
      if (failed) {
        const Problem problem = problem_with_retry(taken.ended->error(), answer.realm);
        metrics_.refused(problem.code);
        response = problem_response(protocol, problem, request.id);
      } else {
        response = {.status = taken.status, .content_type = std::string(content_type(taken.content)), .body = std::move(taken.bytes)};
      }
      for (auto& header : answer.headers) response.headers.push_back(std::move(header));
      answer.served.status = response.status;
      answer.finished = co_await client.respond(request, response);
      co_return;
    }
    co_await answer.signal->wait();
  }
}

}  // namespace realm::http
