#include "config/config.hpp"

namespace penstock::config {

std::string address::to_string() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
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

} // namespace penstock::config
