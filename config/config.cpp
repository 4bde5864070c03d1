#include "config/config.hpp"

#include <algorithm>

namespace penstock::config {

std::string address::to_string() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool address::is_loopback() const {
  const auto is_of_ipv4 = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
  return host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && std::all_of(host.begin(), host.end(), is_of_ipv4));
}

std::string_view name_of(role r) {
  switch (r) {
  case role::ingest: return "ingest";
  case role::publish: return "publish";
  case role::write: return "write";
  case role::web: return "web";
  }
  return "";
}

const std::vector<role>& all_roles() {
  static const std::vector<role> all{role::ingest, role::publish, role::write, role::web};
  return all;
}

std::filesystem::path node_folder(const configuration& configuration) {
  return configuration.cluster ? configuration.data / "nodes" / configuration.node.name : configuration.data;
}

} // namespace penstock::config
