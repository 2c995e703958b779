// What every benchmark here shares: the set-up, the waiting, the report.
#pragma once

#include <boost/json.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/filler_text.h"
#include "runtime/runtime.h"

namespace realm::bench {

struct Setup {
  std::string model;     // $REALM_MODEL
  std::string program;   // $REALM_PROGRAM
  uint32_t threads = 0;  // 0: physical cores
  bool quick = false;    // a tenth of the repetitions
};

// Collects one answer.
class Collector : public runtime::GenerationListener {
 public:
  runtime::EmitResult on_text(std::string_view text) override;
  runtime::EmitResult on_summary(std::string_view json) override;
  void on_end(Result<void> result, const runtime::GenerationStats& stats) override;
  void wait();

  std::string text;
  std::string error;  // empty: it went well
  runtime::GenerationStats stats;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

// A runtime with the model loaded; ends the process with a message when that fails.
std::unique_ptr<runtime::Runtime> make_runtime(const Setup& setup, uint32_t sequences, uint32_t context_tokens, bool with_model = true);
runtime::RealmHandle make_realm(runtime::Runtime& runtime, const std::string& id, bool keep_prefixes = false);
std::string request(boost::json::object fields);

double median(std::vector<double> values);
double percentile(std::vector<double> values, double share);

// The benchmarks; each returns its figures.
boost::json::object greedy_equality(const Setup& setup);          // equality.cpp
boost::json::object guest_against_bare_loop(const Setup& setup);  // throughput.cpp
boost::json::object start_latency(const Setup& setup);            // start.cpp
boost::json::object guest_cpu(const Setup& setup);                // start.cpp
boost::json::object host_call_cost(const Setup& setup);           // start.cpp
boost::json::object program_cost(const Setup& setup);             // program_cost.cpp
boost::json::object llama_from_matmul(const Setup& setup);        // llama_from_matmul.cpp
boost::json::object memory_per_realm(const Setup& setup);         // memory.cpp
boost::json::object many_realms(const Setup& setup);              // many_realms.cpp
boost::json::object prefix_reuse(const Setup& setup);             // many_realms.cpp
boost::json::object busy_share(const Setup& setup);               // busy_share.cpp
boost::json::object no_mixing(const Setup& setup);                // mixing.cpp
boost::json::object own_kernels(const Setup& setup);              // kernels.cpp
boost::json::object prompt_slices(const Setup& setup);            // kernels.cpp
boost::json::object kernels_by_type(const Setup& setup);          // kernels.cpp
boost::json::object kernel_numerics(const Setup& setup);          // numerics.cpp
boost::json::object multiplication_peak(const Setup& setup);      // multiplication_peak.cpp

}  // namespace realm::bench
