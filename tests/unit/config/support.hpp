// What the tests of the configuration share.
#pragma once

#include "config/load.hpp"
#include "tests/support/temporary_directory.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace penstock::config::test {

/// Variables for ${...}; nothing of the real environment.
inline load_options with(std::map<std::string, std::string> variables, std::string node = {}) {
  return {std::move(node), [variables = std::move(variables)](const std::string& name) {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional{found->second};
          }};
}

inline std::vector<problem> problems_of(const std::string& text, const load_options& options = with({})) {
  auto loaded = load_text(text, "/etc/penstock/p.yaml", options);
  const auto* problems = std::get_if<std::vector<problem>>(&loaded);
  return problems == nullptr ? std::vector<problem>{} : *problems;
}

/// What is worth a look in a configuration that loads.
inline std::vector<problem> warnings_of(const std::string& text) {
  std::vector<problem> warnings;
  load_options options = with({});
  options.warnings = &warnings;
  const auto made = load_text(text, "/etc/penstock/p.yaml", options);
  EXPECT_TRUE(std::holds_alternative<configuration>(made));
  return warnings;
}

inline std::string all_of(const std::vector<problem>& problems) {
  std::string text;
  for (const problem& p : problems)
    text += p.to_string() + "\n";
  return text;
}

/// The configuration; fails the test with the problems where there is none.
inline configuration loaded(const std::string& text, const load_options& options = with({})) {
  auto made = load_text(text, "/etc/penstock/p.yaml", options);
  if (const auto* problems = std::get_if<std::vector<problem>>(&made)) {
    ADD_FAILURE() << all_of(*problems);
    return {};
  }
  return std::get<configuration>(std::move(made));
}

inline std::string read(const std::filesystem::path& file) {
  std::ifstream stream{file, std::ios::binary};
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// A small pipeline, one setting a line, for tests that change one line of it.
inline const std::vector<std::string>& pipeline_lines() {
  static const std::vector<std::string> lines{
    R"(brokers: {main: {url: "mqtt://127.0.0.1:1883"}})",
    R"(databases: {db: {url: "sqlite:x.db"}})",
    R"(ingest:)",
    R"(  p:)",
    R"(    broker: main)",
    R"(    topics: ["u/{user}/d/{device}"])",
    R"(    database: db)",
    R"(    table: t)",
    R"(    key: [time, user])",
    R"(    columns:)",
    R"(      time: {from: payload.time, type: timestamp})",
    R"(      user: {from: topic.user, type: text})",
    R"(      note: {from: payload.note, type: text, optional: true})",
  };
  return lines;
}

inline const std::string postgresql_line = R"(databases: {db: {url: "postgresql://h/x"}})";
inline const std::string mysql_line = R"(databases: {db: {url: "mysql://h/x"}})";

/// pipeline_lines with `line` (from 1) replaced; one after the last adds.
inline std::string pipeline_with(std::size_t line = 0, const std::string& text = {}) {
  auto lines = pipeline_lines();
  if (line > lines.size())
    lines.push_back(text);
  else if (line > 0)
    lines[line - 1] = text;
  std::string whole;
  for (const std::string& l : lines)
    whole += l + "\n";
  return whole;
}

} // namespace penstock::config::test
