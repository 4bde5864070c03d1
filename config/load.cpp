#include "config/load.hpp"

#include "config/check.hpp"
#include "config/reader.hpp"

#include <cstdlib>
#include <exception>
#include <fstream>
#include <sstream>

namespace penstock::config {

namespace {

std::optional<std::string> from_environment(const std::string& name) {
  // The environment is written by nobody once threads run.
  const char* value = std::getenv(name.c_str()); // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? std::nullopt : std::optional<std::string>{value};
}

load_result failed(const std::filesystem::path& file, const std::string& text) {
  return std::vector<problem>{{file.string(), 0, 0, "", text}};
}

load_result load(std::string_view text, const std::filesystem::path& file, const load_options& options) {
  findings problems{file.string()};
  const auto parsed = parse(text, problems);
  if (!parsed)
    return problems.take();
  configuration loaded;
  loaded.file = file;
  const auto folder = std::filesystem::absolute(file).parent_path();
  loaded.data = folder / loaded.data;
  const variable_lookup variables = options.variable ? options.variable : from_environment;
  reader{problems, variables, folder}.read(describe(loaded), *parsed, "");
  resolve(loaded, options, problems);
  check(loaded, problems);
  if (!problems.empty())
    return problems.take();
  if (options.warnings != nullptr)
    *options.warnings = problems.take_warnings();
  return loaded;
}

} // namespace

std::string problem::to_string() const {
  std::string whole = file;
  if (line != 0)
    whole += ":" + std::to_string(line) + ":" + std::to_string(column);
  return whole + ": " + (path.empty() ? "" : path + ": ") + text;
}

load_result load_text(std::string_view text, const std::filesystem::path& file, const load_options& options) {
  try {
    return load(text, file, options);
  } catch (const std::exception&) {
    return failed(file, "the configuration cannot be loaded: out of memory, or its folder is not accessible");
  }
}

load_result load_file(const std::filesystem::path& file, const load_options& options) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    return failed(file, "is a directory; name the file");
  std::ifstream stream{file, std::ios::binary};
  if (!stream)
    return failed(file, std::filesystem::exists(file, ignored) ? "cannot be read; check its permissions"
                                                               : "does not exist; check the path after --config");
  // One byte more than allowed, so that a longer file is seen to be longer.
  std::string text(file_bytes_max + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (stream.bad())
    return failed(file, "cannot be read to its end");
  return load_text(text, file, options);
}

} // namespace penstock::config
