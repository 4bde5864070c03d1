// Log-in and TLS, which brokers and databases have alike.
#pragma once

#include "config/findings.hpp"

#include <optional>
#include <string>

namespace penstock::config {

/// The settings of a broker or database that is at `path`.
struct login_settings {
  const std::string& path;
  std::string& user;
  secret& password;
  const std::filesystem::path& password_file;
};

/// Takes what stood in the url; a problem where it stands beside it as well.
void take_login(const login_settings& to, const std::optional<std::string>& user,
                const std::optional<std::string>& password, findings& problems);
void read_password(const login_settings& to, findings& problems);
/// A certificate of the client goes with its key. `path` is the section's.
void check_client_certificate(const tls& tls, const std::string& path, findings& problems);

} // namespace penstock::config
