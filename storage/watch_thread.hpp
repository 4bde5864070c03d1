// A thread that waits for a descriptor and tells somebody: what the watches of this folder are made of.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace penstock::storage {

/// A file descriptor that is closed with the object; a negative one is none.
class descriptor {
public:
  explicit descriptor(int number) : number_(number) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor();
  int get() const { return number_; }

private:
  int number_;
};

/// Ends when the object does.
class watch_thread {
public:
  virtual ~watch_thread() = default;

protected:
  explicit watch_thread(std::function<void()> on_change);

  void begin();
  /// By the most derived class, whose members the thread uses.
  void end();
  virtual void run() = 0;

  bool stopping() const { return stopping_; }
  /// Whether the descriptor has something, within the limit; false at once when the watch ends.
  bool wait_for(int source, std::chrono::milliseconds limit) const;
  /// Not again within 2 ms: what comes meanwhile is one with the next.
  void tell();

private:
  std::function<void()> on_change_;
  descriptor stop_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

} // namespace penstock::storage
