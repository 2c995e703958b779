// Wakes a coroutine from any thread, and outlives it safely.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <mutex>
#include <optional>

namespace realm::http {

class WakeSignal {
 public:
  explicit WakeSignal(const boost::asio::any_io_executor& executor) : channel_(std::in_place, executor, 1) {}

  // Any thread, at any time. Several before a wait are one.
  void wake() {
    std::lock_guard lock(mutex_);
    if (channel_) channel_->try_send(boost::system::error_code{});
  }

  // The coroutine's side.
  boost::asio::awaitable<void> wait() { co_await channel_->async_receive(boost::asio::as_tuple(boost::asio::use_awaitable)); }

  // The coroutine waits no more: from here on wake() touches nothing of its executor.
  void detach() {
    std::lock_guard lock(mutex_);
    channel_.reset();
  }

 private:
  std::mutex mutex_;
  std::optional<boost::asio::experimental::concurrent_channel<void(boost::system::error_code)>> channel_;  // guarded
};

}  // namespace realm::http
