// What becomes of a C++ `throw` in a program: it ends the instance. The code is compiled with -fignore-exceptions, so nothing can be
// caught; the message reaches the caller through `fail`, after on_throw had its say.
#include "lib/exceptions.h"

#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <typeinfo>

#include "include/realm.hpp"

namespace realm {
namespace {

ThrowHandler on_throw = nullptr;

// The layout of type information for a class with one base (Itanium C++ ABI, 2.9.5), which <cxxabi.h> does not declare.
struct SingleBaseTypeInfo {
  const void* vtable;
  const char* name;
  const std::type_info* base;
};

bool derives_from_exception(const std::type_info* type) {
  while (true) {
    if (*type == typeid(std::exception)) return true;
    if (std::string_view(typeid(*type).name()) != "N10__cxxabiv120__si_class_type_infoE") return false;
    type = reinterpret_cast<const SingleBaseTypeInfo*>(type)->base;
  }
}

[[noreturn]] void out_of_memory() { fail(REALM_FAIL_PROGRAM, "the program ran out of memory"); }

}  // namespace

void set_throw_handler(ThrowHandler handler) { on_throw = handler; }

[[noreturn]] void end_by(const char* message) {
  if (on_throw != nullptr) on_throw(message);
  fail(REALM_FAIL_PROGRAM, message);
}

}  // namespace realm

extern "C" {

void* __cxa_allocate_exception(size_t size) throw() {
  void* memory = std::malloc(size);
  if (memory == nullptr) realm::out_of_memory();
  return memory;
}

[[noreturn]] void __cxa_throw(void* thrown, std::type_info* type, void (*)(void*)) {
  const char* message = realm::derives_from_exception(type) ? static_cast<const std::exception*>(thrown)->what() : type->name();
  realm::end_by(message);
}

[[noreturn]] void ggml_abort(const char* file, int line, const char* format, ...) {
  (void)format;
  realm::fail(REALM_FAIL_PROGRAM, std::string("a check failed at ") + file + ":" + std::to_string(line));
}
}

void* operator new(size_t size) {
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) realm::out_of_memory();
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
