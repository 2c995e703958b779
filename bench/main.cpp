// realm-bench [NAME ...] [--quick] [--threads N]: runs the benchmarks and prints one JSON object a line, {"name", "figures"}.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench.h"

int main(int argc, char** argv) {
  using namespace realm::bench;
  const char* model = std::getenv("REALM_MODEL");
  const char* program = std::getenv("REALM_PROGRAM");
  if (model == nullptr || program == nullptr) {
    std::fprintf(stderr, "realm-bench: set REALM_MODEL and REALM_PROGRAM (`make bench` does)\n");
    return 2;
  }
  Setup setup{.model = model, .program = program};
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0)
      setup.quick = true;
    else if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
      setup.threads = static_cast<uint32_t>(std::atoi(argv[++i]));
    else
      wanted.emplace_back(argv[i]);
  }
  const std::pair<const char*, boost::json::object (*)(const Setup&)> benchmarks[] = {{"greedy_equality", greedy_equality},
                                                                                      {"guest_against_bare_loop", guest_against_bare_loop},
                                                                                      {"busy_share", busy_share},
                                                                                      {"start_latency", start_latency},
                                                                                      {"guest_cpu", guest_cpu},
                                                                                      {"host_call_cost", host_call_cost},
                                                                                      {"program_cost", program_cost},
                                                                                      {"llama_from_matmul", llama_from_matmul},
                                                                                      {"memory_per_realm", memory_per_realm},
                                                                                      {"many_realms", many_realms},
                                                                                      {"prefix_reuse", prefix_reuse},
                                                                                      {"no_mixing", no_mixing},
                                                                                      {"own_kernels", own_kernels},
                                                                                      {"prompt_slices", prompt_slices},
                                                                                      {"kernel_numerics", kernel_numerics},
                                                                                      {"kernels_by_type", kernels_by_type},
                                                                                      {"multiplication_peak", multiplication_peak}};
  for (const auto& [name, run] : benchmarks) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    std::fprintf(stderr, "%s ...\n", name);
    std::printf("%s\n", boost::json::serialize(boost::json::object{{"name", name}, {"figures", run(setup)}}).c_str());
    std::fflush(stdout);
  }
  return 0;
}
