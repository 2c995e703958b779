// Where an answer waits between the worker that makes it and the connection that sends it.
//
// The worker's side is runtime::GenerationListener; it never blocks: a full buffer suspends the program, a dead client is told as
// `gone`. The connection's side takes what is there and is woken through `on_change`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "http/limits.h"
#include "runtime/runtime.h"

namespace realm::http {

// Frames one server-sent event. No byte of the name or the data can leave its line: line breaks in data become further data lines,
// those in a name are dropped.
void append_event(std::string& out, std::string_view name, std::string_view data);

class ResponseStream final : public runtime::GenerationListener {
 public:
  using OnEnd = std::function<void(const Result<void>&, const runtime::GenerationStats&)>;

  // `on_change` is called on worker threads, after anything that the connection waits for; `on_end` once, on a worker thread,
  // whether or not the connection still lives.
  ResponseStream(const HttpLimits& limits, std::function<void()> on_change, OnEnd on_end)
      : limits_(limits), on_change_(std::move(on_change)), on_end_(std::move(on_end)) {}

  // -- worker
  runtime::EmitResult on_text(std::string_view utf8) override;  // a program that knows no routes: its text is the body
  runtime::EmitResult on_summary(std::string_view json) override;
  void on_head(uint16_t status, runtime::Content content) override;
  runtime::EmitResult on_body(std::string_view bytes) override;
  runtime::EmitResult on_event(std::string_view name, std::string_view data) override;
  void on_end(Result<void> result, const runtime::GenerationStats& stats) override;

  // -- connection
  struct Taken {
    bool head = false;  // the head is known
    uint16_t status = 200;
    runtime::Content content = runtime::Content::json;
    std::string bytes;       // since the last take; of a body that is not streamed, all of it and only at the end
    bool made_room = false;  // the program may be suspended on a full buffer: resume it
    std::optional<Result<void>> ended;
  };
  Taken take();
  void abandon();  // nobody will take anything any more

  // Keeps the stream alive until on_end. Called once, before the generation starts.
  void hold(std::shared_ptr<ResponseStream> self) { self_ = std::move(self); }
  void release() { self_.reset(); }  // the generation did not start, so on_end will not come

 private:
  runtime::EmitResult append(std::string_view bytes, bool event, std::string_view name);

  const HttpLimits limits_;
  const std::function<void()> on_change_;
  const OnEnd on_end_;
  std::shared_ptr<ResponseStream> self_;

  std::mutex mutex_;
  bool abandoned_ = false;  // guarded, likewise below
  bool head_ = false;
  uint16_t status_ = 200;
  runtime::Content content_ = runtime::Content::text;
  std::string bytes_;
  bool was_full_ = false;
  std::optional<Result<void>> ended_;
};

}  // namespace realm::http
