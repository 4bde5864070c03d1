#include "config/login.hpp"

#include <fstream>

namespace penstock::config {

namespace {

constexpr std::size_t password_bytes_max = 65'535; // MQTT's own limit

} // namespace

void take_login(const login_settings& to, const std::optional<std::string>& user,
                const std::optional<std::string>& password, findings& problems) {
  if (user && problems.given(below(to.path, "user")))
    problems.add(below(to.path, "user"), "stands in the url as well; keep one of them");
  else if (user)
    to.user = *user;
  const bool elsewhere = problems.given(below(to.path, "password")) || problems.given(below(to.path, "password_file"));
  if (password && elsewhere)
    problems.add(below(to.path, "url"), "has a password, and there is one outside it; keep one of them");
  else if (password)
    to.password.value = *password;
}

void read_password(const login_settings& to, findings& problems) {
  const std::string file_path = below(to.path, "password_file");
  if (!problems.given(file_path) || !problems.sound(file_path) || to.password_file.empty())
    return;
  if (problems.given(below(to.path, "password")))
    return problems.add(file_path, "stands beside `password`; keep one of them");
  std::ifstream stream{to.password_file, std::ios::binary};
  std::string text(password_bytes_max + 2, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (!stream.eof() || stream.bad())
    return problems.add(file_path, text.empty() ? "cannot be read; check the path and its permissions"
                                                : "is longer than a password can be");
  if (text.ends_with('\n'))
    text.pop_back();
  if (text.ends_with('\r'))
    text.pop_back();
  to.password.value = std::move(text);
}

void check_client_certificate(const tls& tls, const std::string& path, findings& problems) {
  if (tls.certificate.empty() != tls.key.empty())
    problems.add(path, "needs `certificate` and `key` together; one of them is missing");
}

} // namespace penstock::config
