// The C library's ways to give up, for a program that prints nothing: what the C++ library says on standard error before it aborts
// becomes the message of `fail`, as if it had been thrown. (The library comes compiled without exceptions, so that std::stoi and the
// like print and abort where they would throw.) Linking these in place of the C library's own also leaves out its files and streams,
// and with them most of WASI.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "lib/exceptions.h"

namespace {
char last_words[256] = "the program aborted";
}

extern "C" {

int fprintf(FILE*, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(last_words, sizeof last_words, format, arguments);
  va_end(arguments);
  for (char& c : last_words) {
    if (c == '\n') c = '\0';
  }
  return length;
}

// Debugging output of the Jinja engine, which is switched off, and a complaint about long double on the way to abort.
int printf(const char*, ...) { return 0; }
int fputs(const char*, FILE*) { return 0; }

// Where the functions above would have written to, under both of the names that the C library refers to it by.
FILE* const stderr = nullptr;
char __stderr_FILE;

// For the names of locales: there is only "C".
char* getenv(const char*) { return nullptr; }

void abort() { realm::end_by(last_words); }

// What the C++ run-time library calls for broken invariants, such as a call of a pure virtual function.
[[noreturn]] void abort_message(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_words, sizeof last_words, format, arguments);
  va_end(arguments);
  std::abort();
}
}
