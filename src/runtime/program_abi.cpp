// The ABI table meets its implementation: a row without a method of the same shape does not compile.
#include "abi/realm_abi.h"
#include "runtime/generation.h"
#include "sandbox/host_function.h"

namespace realm::runtime {
namespace declared {
#define REALM_DECLARED_TYPE(name, waits, result, parameters) using name = result parameters;
REALM_ABI_FUNCTIONS(REALM_DECLARED_TYPE)
REALM_ENV_FUNCTIONS(REALM_DECLARED_TYPE)
#undef REALM_DECLARED_TYPE
}  // namespace declared

std::vector<sandbox::HostFunction> program_abi_functions() {
  constexpr bool IMMEDIATE = false;
  constexpr bool MAY_SUSPEND = true;
  std::vector<sandbox::HostFunction> functions;
  const char* module = "realm";
#define REALM_BIND(name, waits, result, parameters)                                                            \
  functions.push_back(sandbox::host_function<&Generation::name, declared::name, REALM_FAULT>(module, #name));  \
  static_assert(sandbox::detail::Bind<&Generation::name, declared::name, REALM_FAULT>::may_suspend == (waits), \
                #name ": the table and the method disagree on suspending");
  REALM_ABI_FUNCTIONS(REALM_BIND)
  module = "env";
  REALM_ENV_FUNCTIONS(REALM_BIND)
#undef REALM_BIND
  return functions;
}

}  // namespace realm::runtime
