// {% break %} and {% continue %} without C++ exceptions.
//
// The Jinja engine leaves a loop by throwing, which in the sandbox would end the instance. The parsed template is rewritten instead:
// the two statements set a mark, every statement in the reach of one does nothing while the mark stands, and the loop clears it.
#pragma once

#include "jinja/runtime.h"

namespace realm {

// Does nothing to a template without these statements.
void rewrite_loop_control(jinja::program& program);

}  // namespace realm
