#include "nodes/verdict.hpp"

#include "nodes/command_support.hpp"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace penstock::nodes {

namespace {

constexpr std::size_t name_width = 24;
constexpr std::size_t number_width = 14;

double milliseconds_of(std::uint64_t microseconds) { return static_cast<double>(microseconds) / 1e3; }

} // namespace

void name_offenders(std::vector<offender>& offenders, const std::function<void(const value_visitor&)>& read) {
  std::size_t unnamed = offenders.size();
  if (unnamed == 0)
    return;
  read([&](std::size_t number, const std::vector<std::string>& values) {
    for (offender& one : offenders)
      if (one.line == number) {
        one.values = values;
        --unnamed;
      }
    return unnamed > 0;
  });
}

nlohmann::ordered_json offender_json(const offender& one, const std::vector<std::string>& key) {
  nlohmann::ordered_json entry = {{"what", one.what}, {"line", one.line}};
  for (std::size_t i = 0; i < one.values.size() && i < key.size(); ++i)
    entry["key"][key[i]] = one.values[i];
  return entry;
}

void print_offender(std::ostream& out, const offender& one, const std::vector<std::string>& key) {
  out << "  " << one.what << " (line " << one.line << "):";
  for (std::size_t i = 0; i < one.values.size() && i < key.size(); ++i)
    out << ' ' << key[i] << '=' << one.values[i];
  out << '\n';
}

void print_count(std::ostream& out, std::string_view what, std::uint64_t number, std::string_view more) {
  std::string digits = with_commas(number);
  digits.insert(0, number_width - std::min(digits.size(), number_width), ' ');
  out << "  " << what << std::string(name_width - std::min(what.size(), name_width), ' ') << digits << more << '\n';
}

nlohmann::ordered_json latency_json(const histogram& microseconds) {
  nlohmann::ordered_json latency = {{"samples", microseconds.count()}};
  for (const auto& [name, fraction] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}})
    latency[name] = milliseconds_of(microseconds.percentile(fraction));
  latency["max"] = milliseconds_of(microseconds.max());
  return latency;
}

void print_latency(std::ostream& out, std::string_view what, const histogram& microseconds) {
  if (microseconds.count() == 0)
    return;
  char text[160];
  std::snprintf(text, sizeof text, ": p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms (%llu samples)\n",
                milliseconds_of(microseconds.percentile(0.5)), milliseconds_of(microseconds.percentile(0.9)),
                milliseconds_of(microseconds.percentile(0.99)), milliseconds_of(microseconds.max()),
                static_cast<unsigned long long>(microseconds.count()));
  out << "  " << what << text;
}

} // namespace penstock::nodes
