#include "storage/socket_watch.hpp"

#include <algorithm>
#include <condition_variable>
#include <fcntl.h>
#include <mutex>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace penstock::storage {

class watching_thread {
public:
  static watching_thread& of_process() {
    static watching_thread one;
    return one;
  }

  void add(socket_watch& watch) {
    const std::lock_guard lock{mutex_};
    watches_.push_back(&watch);
  }
  void remove(socket_watch& watch) {
    const std::lock_guard lock{mutex_};
    std::erase(watches_, &watch);
  }

  void set_due(socket_watch& watch, socket_watch::clock::time_point due) {
    const std::lock_guard lock{mutex_};
    watch.due_ = due;
    // A time that moves back is seen when the thread wakes at the old one: no call pays for waking it.
    if (due >= wakes_)
      return;
    if (!thread_.joinable())
      thread_ = std::thread{[this] { run(); }};
    changed_.notify_one();
  }

private:
  watching_thread() = default;
  ~watching_thread() {
    {
      const std::lock_guard lock{mutex_};
      ending_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable())
      thread_.join();
  }

  void run() {
    std::unique_lock lock{mutex_};
    while (!ending_) {
      const auto now = socket_watch::clock::now();
      wakes_ = socket_watch::clock::time_point::max();
      for (auto* watch : watches_) {
        if (watch->due_ <= now)
          cut(*watch);
        wakes_ = std::min(wakes_, watch->due_);
      }
      if (wakes_ == socket_watch::clock::time_point::max())
        changed_.wait(lock);
      else
        changed_.wait_until(lock, wakes_);
    }
  }

  static void cut(socket_watch& watch) {
    watch.due_ = socket_watch::clock::time_point::max();
    watch.cut_ = true;
    ::shutdown(watch.socket_, SHUT_RDWR);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<socket_watch*> watches_;
  socket_watch::clock::time_point wakes_ = socket_watch::clock::time_point::max();
  std::thread thread_;
  bool ending_ = false;
};

socket_watch::socket_watch(int socket) : socket_(socket < 0 ? -1 : ::fcntl(socket, F_DUPFD_CLOEXEC, 0)) {
  watching_thread::of_process().add(*this);
}

socket_watch::~socket_watch() {
  watching_thread::of_process().remove(*this);
  if (socket_ >= 0)
    ::close(socket_);
}

std::chrono::milliseconds socket_watch::set(std::chrono::milliseconds limit) {
  const auto before = std::exchange(limit_, limit);
  const bool limited = limit.count() > 0 && socket_ >= 0;
  watching_thread::of_process().set_due(*this, limited ? clock::now() + limit : clock::time_point::max());
  return before;
}

} // namespace penstock::storage
