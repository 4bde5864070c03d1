#include "nodes/reload_request.hpp"

#include "nodes/exit_codes.hpp"
#include "nodes/run_file.hpp"
#include "web/http_client.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <sys/types.h>
#include <thread>

namespace penstock::nodes {

namespace {

using nlohmann::ordered_json;
using namespace std::chrono_literals;

/// Pipelines that stop have 20 s for each of their actors.
constexpr auto patience = 90s;
constexpr auto between_looks = 100ms;

/// Nothing where it cannot be had just now.
std::optional<ordered_json> status_of(const run_file& node) {
  const auto answer = web::http_get("http://" + node.http + "/status");
  if (!answer || answer->status != 200)
    return std::nullopt;
  auto status = ordered_json::parse(answer->body, nullptr, false);
  if (!status.is_object() || !status.contains("configuration"))
    return std::nullopt;
  return status;
}

std::uint64_t reads_of(const ordered_json& status) { return status["configuration"].value("reads", std::uint64_t{0}); }

bool is_same_file(const std::filesystem::path& one, const std::filesystem::path& other) {
  std::error_code ignored;
  return std::filesystem::equivalent(one, other, ignored);
}

/// What came of it at one node.
int reload_node(const run_file& node, const std::filesystem::path& file,
                const std::function<bool(const ordered_json& status)>& shows, std::ostream& out, std::ostream& err) {
  const auto process = "process " + std::to_string(node.pid);
  if (!is_same_file(node.configuration, file)) {
    err << "the node that runs (" << process << ") reads " << node.configuration.string() << ", not this file\n";
    return exit_verdict_bad;
  }
  const auto before = node.http.empty() ? std::nullopt : status_of(node);
  if (::kill(static_cast<pid_t>(node.pid), SIGHUP) != 0) {
    err << process << " cannot be told; as its user: kill -HUP " << node.pid << '\n';
    return exit_unavailable;
  }
  if (!before) {
    out << process << " reads the configuration again; its log says what comes of it\n";
    return node.http.empty() ? exit_done : exit_unavailable;
  }
  for (const auto deadline = std::chrono::steady_clock::now() + patience; std::chrono::steady_clock::now() < deadline;
       std::this_thread::sleep_for(between_looks)) {
    const auto now = status_of(node);
    if (!now || reads_of(*now) <= reads_of(*before))
      continue;
    const auto& read = (*now)["configuration"];
    if (!read.value("taken", true)) {
      err << process << " goes on as before:\n" << read.value("outcome", "") << '\n';
      return exit_configuration;
    }
    if (!shows(*now)) // another reading was under way, and this one is next
      continue;
    out << process << ": " << read.value("outcome", "") << '\n';
    return exit_done;
  }
  err << process << " was told, and its status does not show it; see its log\n";
  return exit_verdict_bad;
}

} // namespace

int reload_running_nodes(const config::configuration& configuration,
                         const std::function<bool(const ordered_json& status)>& shows, std::ostream& out,
                         std::ostream& err) {
  const auto running = running_nodes(configuration);
  if (running.empty())
    out << "no node runs with this configuration: it takes effect with the next `penstock run`\n";
  int code = exit_done;
  for (const auto& node : running)
    if (const int failed = reload_node(node, configuration.file, shows, out, err); code == exit_done)
      code = failed;
  return code;
}

} // namespace penstock::nodes
