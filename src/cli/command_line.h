// The whole command line: parses, checks, and runs one command.
#pragma once

namespace realm::cli {

// Returns the exit code: 0, 1 after a failure, 2 for a wrong usage. Throws nothing.
int run_command_line(int argc, char** argv) noexcept;

}  // namespace realm::cli
