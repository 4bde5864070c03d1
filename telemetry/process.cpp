#include "telemetry/process.hpp"

#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

namespace penstock::telemetry {

namespace {
double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}
} // namespace

process_status process_now() {
  process_status status;
  status.pid = ::getpid();
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0)
    status.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  std::uint64_t pages = 0;
  std::uint64_t resident_pages = 0;
  std::ifstream statm{"/proc/self/statm"};
  if (statm >> pages >> resident_pages)
    status.resident_bytes = resident_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return status;
}

} // namespace penstock::telemetry
