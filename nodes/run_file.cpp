#include "nodes/run_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <system_error>
#include <unistd.h>

namespace penstock::nodes {

namespace {
constexpr const char* name = "run.json";
constexpr const char* lock_name = "run.lock";

/// Whether the process holds the lock of this folder: a number that another process has got since does not. Trying the
/// lock would keep a node that starts just then from getting it.
bool holds_lock(std::int64_t pid, const std::filesystem::path& lock) {
  struct stat file {};
  std::ifstream locks{"/proc/locks"};
  if (::stat(lock.c_str(), &file) != 0)
    return false;
  if (!locks) // not a Linux that tells: whoever lives has it
    return pid > 0 && (::kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM);
  // "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words{line};
    std::string number, kind, manner, mode, owner, place;
    words >> number >> kind >> manner >> mode >> owner >> place;
    if (owner == std::to_string(pid) && place.ends_with(":" + std::to_string(file.st_ino)))
      return true;
  }
  return false;
}
} // namespace

result<void> write_run_file(const std::filesystem::path& folder, const run_file& content) {
  nlohmann::ordered_json brokers = nlohmann::ordered_json::object();
  for (const auto& [broker, where] : content.brokers)
    brokers[broker] = {{"host", where.host}, {"port", where.port}, {"pid", where.pid}};
  const nlohmann::ordered_json json = {{"pid", content.pid},
                                       {"node", content.node},
                                       {"version", content.version},
                                       {"http", content.http},
                                       {"configuration", content.configuration.string()},
                                       {"brokers", brokers}};
  const auto temporary = folder / "run.json.new";
  {
    std::ofstream file{temporary};
    file << json.dump(2) << '\n';
    if (!file.flush())
      return error{errc::configuration,
                   "cannot write " + temporary.string() + ": " + std::generic_category().message(errno)};
  }
  std::error_code failure;
  std::filesystem::rename(temporary, folder / name, failure);
  if (failure)
    return error{errc::configuration, "cannot write " + (folder / name).string() + ": " + failure.message()};
  return {};
}

result<run_file> read_run_file(const std::filesystem::path& folder) {
  const auto path = folder / name;
  std::ifstream file{path};
  if (!file)
    return error{errc::connection_refused, "no node runs with this configuration (there is no " + path.string() + ")"};
  run_file content;
  try {
    const auto json = nlohmann::json::parse(file);
    content.pid = json.at("pid").get<std::int64_t>();
    content.node = json.at("node").get<std::string>();
    content.version = json.at("version").get<std::string>();
    content.http = json.at("http").get<std::string>();
    content.configuration = json.at("configuration").get<std::string>();
    for (const auto& [broker, where] : json.at("brokers").items())
      content.brokers[broker] = {where.at("host").get<std::string>(), where.at("port").get<std::uint16_t>(),
                                 where.at("pid").get<std::int64_t>()};
  } catch (const nlohmann::json::exception& failure) {
    return error{errc::connection_refused, path.string() + " cannot be read: " + failure.what()};
  }
  if (!holds_lock(content.pid, folder / lock_name))
    return error{errc::connection_refused, "no node runs with this configuration (process " +
                                             std::to_string(content.pid) + " of " + path.string() + " is gone)"};
  return content;
}

void remove_run_file(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::remove(folder / name, ignored);
}

std::vector<run_file> running_nodes(const config::configuration& configuration) {
  std::set<std::filesystem::path> folders;
  std::error_code ignored;
  if (!configuration.cluster || !configuration.node.name.empty())
    folders.insert(config::node_folder(configuration));
  else
    for (const auto& each : std::filesystem::directory_iterator{config::node_folder(configuration), ignored})
      folders.insert(each.path());
  std::vector<run_file> running;
  for (const auto& folder : folders)
    if (auto node = read_run_file(folder))
      running.push_back(std::move(*node));
  return running;
}

result<run_file> running_node(const config::configuration& configuration) {
  auto running = running_nodes(configuration);
  const auto served = std::find_if(running.begin(), running.end(), [](const auto& each) { return !each.http.empty(); });
  if (!running.empty())
    return std::move(served == running.end() ? running.front() : *served);
  if (!configuration.cluster || !configuration.node.name.empty())
    return read_run_file(config::node_folder(configuration));
  return error{errc::connection_refused,
               "no node runs on this machine with this configuration (none has a run.json below " +
                 config::node_folder(configuration).string() + ")"};
}

std::string node_id(const std::filesystem::path& folder) {
  const auto path = folder / "node-id";
  std::string id;
  if (std::ifstream{path} >> id && !id.empty())
    return id;
  std::random_device random;
  for (int i = 0; i < 16; ++i)
    id += "0123456789abcdef"[random() % 16];
  std::ofstream{path} << id << '\n';
  return id;
}

result<data_lock> data_lock::acquire(const std::filesystem::path& folder) {
  const auto path = folder / lock_name;
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0)
    return error{errc::configuration, "cannot open " + path.string() + ": " + std::generic_category().message(errno)};
  data_lock lock{file};
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const auto other = read_run_file(folder);
    return error{errc::connection_refused,
                 "another node" + (other ? " (process " + std::to_string(other->pid) + ")" : std::string{}) +
                   " works in " + folder.string() +
                   "; stop it, or start this one under another name (--node; outside a cluster with another `data`)"};
  }
  return lock;
}

data_lock::data_lock(data_lock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

data_lock::~data_lock() {
  if (file_ >= 0)
    ::close(file_);
}

} // namespace penstock::nodes
