#include "runtime/abi_answer.h"

namespace realm::runtime {

int32_t status_of(engine::SequenceStatus status) {
  switch (status) {
    case engine::SequenceStatus::ok:
      return REALM_OK;
    case engine::SequenceStatus::context_full:
      return REALM_CONTEXT_FULL;
    case engine::SequenceStatus::invalid_argument:
      return REALM_INVALID_ARGUMENT;
    case engine::SequenceStatus::limit:
      return REALM_LIMIT;
    case engine::SequenceStatus::deadline_exceeded:
    case engine::SequenceStatus::unavailable:
      return REALM_UNAVAILABLE;
  }
  return REALM_UNAVAILABLE;
}

int32_t status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::context_exceeded:
      return REALM_INVALID_ARGUMENT;
    case ErrorCode::resource_exhausted:
      return REALM_LIMIT;
    case ErrorCode::not_found:
      return REALM_NOT_FOUND;
    case ErrorCode::cancelled:
      return REALM_CANCELLED;
    case ErrorCode::unsupported:
      return REALM_UNSUPPORTED;
    default:
      return REALM_UNAVAILABLE;
  }
}

}  // namespace realm::runtime
