#include "storage/watch_thread.hpp"

#include <array>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

namespace penstock::storage {

namespace {

constexpr std::chrono::milliseconds quiet_time{2};

} // namespace

descriptor::~descriptor() {
  if (number_ >= 0)
    ::close(number_);
}

watch_thread::watch_thread(std::function<void()> on_change)
  : on_change_(std::move(on_change)), stop_(::eventfd(0, EFD_CLOEXEC)) {}

void watch_thread::begin() {
  thread_ = std::thread{[this] { run(); }};
}

void watch_thread::end() {
  stopping_ = true;
  ::eventfd_write(stop_.get(), 1);
  if (thread_.joinable())
    thread_.join();
}

bool watch_thread::wait_for(int source, std::chrono::milliseconds limit) const {
  std::array<pollfd, 2> both{pollfd{stop_.get(), POLLIN, 0}, pollfd{source, POLLIN, 0}};
  const auto ready = ::poll(both.data(), source < 0 ? 1 : 2, static_cast<int>(limit.count()));
  return ready > 0 && !stopping_ && source >= 0 && both[1].revents != 0;
}

void watch_thread::tell() {
  on_change_();
  wait_for(-1, quiet_time);
}

} // namespace penstock::storage
