// Any bytes as a configuration: the loader answers, and what it accepts it prints in a form that it accepts again.
#include "config/diff.hpp"
#include "config/load.hpp"
#include "core/assert.hpp"

#include <cstddef>
#include <cstdint>

using namespace penstock::config;

namespace {

load_result load(std::string_view text) {
  load_options options;
  options.variable = [](const std::string& name) {
    return name.size() % 2 == 0 ? std::optional<std::string>{"hunter2"} : std::nullopt;
  };
  return load_text(text, "/fuzz/p.yaml", options);
}

bool has_secret(const configuration& c) {
  for (const auto& entry : c.brokers)
    if (!entry.second.password.value.empty())
      return true;
  for (const auto& entry : c.databases)
    if (!entry.second.password.value.empty())
      return true;
  return false;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The text may hold no secret of its own, so that one in a problem comes from a variable.
  const std::string text{reinterpret_cast<const char*>(data), size};
  const auto first = load(text);
  if (const auto* problems = std::get_if<std::vector<problem>>(&first)) {
    penstock::assert_that(!problems->empty(), "a refusal has a reason");
    for (const problem& p : *problems)
      penstock::assert_that(text.find("hunter2") != std::string::npos ||
                              p.to_string().find("hunter2") == std::string::npos,
                            "no value of a variable is in a problem");
    return 0;
  }
  const auto& c = std::get<configuration>(first);
  const std::string yaml = show(c, false);
  const std::string json = show(c, true);
  if (has_secret(c))
    return 0;
  for (const std::string& printed : {yaml, json}) {
    const auto again = load(printed);
    penstock::assert_that(std::holds_alternative<configuration>(again), "what is printed loads");
    penstock::assert_that(diff(c, std::get<configuration>(again)).empty(), "and is the same");
  }
  return 0;
}
