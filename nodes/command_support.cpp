#include "nodes/command_support.hpp"

#include "nodes/run_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <ostream>
#include <sys/signalfd.h>
#include <unistd.h>

namespace penstock::nodes {

namespace {

/// `option` is what chooses one.
template <class Pipeline>
const Pipeline* find_in(const std::map<std::string, Pipeline>& pipelines, const std::string& name, const char* kind,
                        const char* option, std::ostream& err) {
  if (name.empty() && pipelines.size() == 1)
    return &pipelines.begin()->second;
  const auto found = pipelines.find(name);
  if (found != pipelines.end())
    return &found->second;
  err << (name.empty() ? std::string{option} + " is needed"
                       : "there is no " + std::string{kind} + " pipeline '" + name + "'")
      << "; the configuration has:";
  for (const auto& [known, pipeline] : pipelines)
    err << ' ' << known;
  err << (pipelines.empty() ? " none\n" : "\n");
  return nullptr;
}

} // namespace

const config::ingest* find_pipeline(const config::configuration& configuration, const std::string& name,
                                    std::ostream& err) {
  return find_in(configuration.ingest, name, "ingest", "--pipeline", err);
}

const config::publish* find_publish(const config::configuration& configuration, const std::string& name,
                                    std::ostream& err) {
  return find_in(configuration.publish, name, "publish", "the name of a publish pipeline", err);
}

result<config::broker> reachable_broker(const config::configuration& configuration, const std::string& name) {
  config::broker broker = configuration.brokers.at(name);
  if (!broker.embedded)
    return broker;
  const auto running = read_run_file(configuration.data);
  if (!running)
    return running.error();
  const auto found = running->brokers.find(name);
  if (found == running->brokers.end())
    return error{errc::connection_refused, "the node that runs has no broker '" + name + "'"};
  broker.host = found->second.host;
  broker.port = found->second.port;
  return broker;
}

std::string number_text(double number) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", number);
  return digits;
}

std::string with_commas(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3)
    digits.insert(at - 3, ",");
  return digits;
}

std::string clock_text(std::chrono::seconds time) {
  const auto total = std::max<std::int64_t>(time.count(), 0);
  char text[48];
  if (total >= 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", static_cast<long long>(total / 3600),
                  static_cast<long long>(total / 60 % 60), static_cast<long long>(total % 60));
  else
    std::snprintf(text, sizeof text, "%02lld:%02lld", static_cast<long long>(total / 60),
                  static_cast<long long>(total % 60));
  return text;
}

void print_time_left(std::ostream& out, std::optional<double> seconds) {
  if (seconds)
    out << ", " << clock_text(std::chrono::seconds(std::llround(*seconds))) << " left";
}

bool printable(std::string_view text) {
  const bool control = std::any_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f;
  });
  if (control)
    return false;
  try { // the library's check of UTF-8 is in its serializer
    static_cast<void>(nlohmann::json(text).dump());
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

struct interrupt::saved_mask {
  sigset_t signals;
};

interrupt::interrupt() : saved_(std::make_unique<saved_mask>()) {
  sigset_t counted;
  sigemptyset(&counted);
  sigaddset(&counted, SIGINT);
  sigaddset(&counted, SIGTERM);
  sigaddset(&counted, SIGHUP); // a node that was started by it takes this for something else
  pthread_sigmask(SIG_BLOCK, &counted, &saved_->signals);
  fd_ = ::signalfd(-1, &counted, SFD_NONBLOCK | SFD_CLOEXEC);
}

interrupt::~interrupt() {
  ::close(fd_);
  pthread_sigmask(SIG_SETMASK, &saved_->signals, nullptr);
}

unsigned interrupt::count() {
  signalfd_siginfo info{};
  while (::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    ++count_;
    last_ = static_cast<int>(info.ssi_signo);
  }
  return count_;
}

} // namespace penstock::nodes
