#include "realm/loop_control.h"

#include <memory>
#include <utility>

namespace realm {
namespace {

using jinja::statement;
using jinja::statement_ptr;
using jinja::statements;
using jinja::value;

enum class Mark { none, next_iteration, leave_loop };
Mark mark = Mark::none;  // one template is rendered at a time, on one thread

value nothing() { return jinja::mk_val<jinja::value_undefined>(); }

struct SetMark : statement {
  explicit SetMark(Mark a_mark) : wanted(a_mark) {}
  std::string type() const override { return "LoopControl"; }
  value execute_impl(jinja::context&) const override {
    mark = wanted;
    return nothing();
  }
  Mark wanted;
};

// The first statement of a loop's body.
struct BeginIteration : statement {
  std::string type() const override { return "BeginIteration"; }
  value execute_impl(jinja::context&) const override {
    if (mark == Mark::next_iteration) mark = Mark::none;
    return nothing();
  }
};

// Runs a statement unless the mark stands. What the statement had produced when it set the mark itself is dropped, as an exception
// would have dropped it.
struct Guarded : statement {
  explicit Guarded(statement_ptr a_inner) : inner(std::move(a_inner)) { pos = inner->pos; }
  std::string type() const override { return inner->type(); }
  value execute_impl(jinja::context& context) const override {
    if (mark != Mark::none) return nothing();
    value result = inner->execute(context);
    return mark == Mark::none ? result : nothing();
  }
  statement_ptr inner;
};

// A loop is where marks from inside it end.
struct Loop : statement {
  explicit Loop(statement_ptr a_inner) : inner(std::move(a_inner)) { pos = inner->pos; }
  std::string type() const override { return inner->type(); }
  value execute_impl(jinja::context& context) const override {
    const Mark outer = std::exchange(mark, Mark::none);
    value result = inner->execute(context);
    mark = outer;
    return result;
  }
  statement_ptr inner;
};

void rewrite(statements& list, bool in_loop);

void rewrite(statement_ptr& item, bool in_loop) {
  statement* known = item.get();
  if (dynamic_cast<jinja::break_statement*>(known) != nullptr) {
    item = std::make_unique<SetMark>(Mark::leave_loop);
  } else if (dynamic_cast<jinja::continue_statement*>(known) != nullptr) {
    item = std::make_unique<SetMark>(Mark::next_iteration);
  } else if (auto* loop = dynamic_cast<jinja::for_statement*>(known)) {
    rewrite(loop->body, true);
    rewrite(loop->default_block, in_loop);
    loop->body.insert(loop->body.begin(), std::make_unique<BeginIteration>());
    item = std::make_unique<Loop>(std::move(item));
  } else if (auto* choice = dynamic_cast<jinja::if_statement*>(known)) {
    rewrite(choice->body, in_loop);
    rewrite(choice->alternate, in_loop);
  } else if (auto* macro = dynamic_cast<jinja::macro_statement*>(known)) {
    rewrite(macro->body, false);
  } else if (auto* set = dynamic_cast<jinja::set_statement*>(known)) {
    rewrite(set->body, in_loop);
  } else if (auto* filter = dynamic_cast<jinja::filter_statement*>(known)) {
    rewrite(filter->body, in_loop);
  } else if (auto* call = dynamic_cast<jinja::call_statement*>(known)) {
    rewrite(call->body, in_loop);
  }
  if (in_loop) item = std::make_unique<Guarded>(std::move(item));
}

void rewrite(statements& list, bool in_loop) {
  for (statement_ptr& item : list) rewrite(item, in_loop);
}

}  // namespace

void rewrite_loop_control(jinja::program& program) {
  mark = Mark::none;
  rewrite(program.body, false);
}

}  // namespace realm
