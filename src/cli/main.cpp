#include "base/memory.h"
#include "cli/command_line.h"

int main(int argc, char** argv) {
  realm::return_freed_memory();
  return realm::cli::run_command_line(argc, argv);
}
