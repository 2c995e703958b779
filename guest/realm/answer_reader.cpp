#include "realm/answer_reader.h"

#include "realm/channel_answer.h"
#include "realm/recipient_answer.h"
#include "realm/tagged_answer.h"

namespace realm {
namespace {

// What is left to find once the text has begun.
ReasoningMarks marks_of(const AnswerForm& form, const ReaderOptions& options) {
  ReasoningMarks marks = form.reasoning;
  if (options.start != AnswerStart::in_text && options.reasoning_apart) return marks;
  marks.open = marks.close = {};
  marks.ends.clear();
  return marks;
}

}  // namespace

TaggedAnswer::TaggedAnswer(const AnswerForm& form, const ReaderOptions& options) {
  const ReasoningMarks marks = marks_of(form, options);
  const bool inside = options.start == AnswerStart::in_reasoning && !marks.open.empty();
  if (!marks.open.empty() || !marks.dropped.empty()) splitter_.emplace(marks, inside);
  if (options.finds_calls) calls_.emplace(options.tools, form.markers);
}

void TaggedAnswer::give(std::string_view answer, AnswerPieces& out) {
  if (calls_) {
    calls_->add(answer, out);
  } else {
    out.text += answer;
  }
}

void TaggedAnswer::add(std::string_view text, AnswerPieces& out) {
  if (!splitter_) return give(text, out);
  std::string answer;
  splitter_->add(text, out.reasoning, answer);
  give(answer, out);
}

void TaggedAnswer::finish(AnswerPieces& out) {
  std::string answer;
  if (splitter_) splitter_->finish(out.reasoning, answer);
  give(answer, out);
  if (calls_) calls_->finish(out);
}

std::unique_ptr<AnswerReader> make_answer_reader(const AnswerForm& form, const ReaderOptions& options) {
  if (options.constrained) {
    if (!options.finds_calls) return nullptr;
    return std::make_unique<TaggedAnswer>(answer_form({}), options);
  }
  if (form.kind == AnswerForm::Kind::channels) return std::make_unique<ChannelAnswer>(options);
  if (form.kind == AnswerForm::Kind::recipients) return std::make_unique<RecipientAnswer>(options);
  const ReasoningMarks marks = marks_of(form, options);
  if (marks.open.empty() && marks.dropped.empty() && !options.finds_calls) return nullptr;
  return std::make_unique<TaggedAnswer>(form, options);
}

}  // namespace realm
