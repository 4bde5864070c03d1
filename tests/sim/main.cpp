// sim: runs a simulated cluster under seeds (world.hpp). Exit code 1: a seed has shown that a promise is broken.
#include "telemetry/log.hpp"
#include "tests/sim/world.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

using penstock::sim::direction;
using penstock::sim::world;

namespace {

struct options {
  std::uint64_t first = 1;
  std::uint64_t seeds = 100;
  bool verbose = false;
  std::optional<direction> only;
};

/// True: all is well.
bool run(std::uint64_t seed, const options& given, std::map<std::string, std::uint64_t>& counts, bool twice) {
  const auto outcome = world{seed, given.verbose, given.only}.run();
  for (const auto& [what, count] : outcome.counts)
    counts[what] += count;
  counts["steps"] += outcome.steps;
  if (!outcome.violation.empty()) {
    fmt::print("seed {}: {}\n  again, with all that happens: sim --seed {}{} --verbose\n", seed, outcome.violation,
               seed,
               !given.only                        ? ""
               : *given.only == direction::ingest ? " --only ingest"
                                                  : " --only publish");
    return false;
  }
  if (twice && world{seed, false, given.only}.run().digest != outcome.digest) {
    fmt::print("seed {}: a second run of it went another way\n", seed);
    return false;
  }
  return true;
}

} // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ); // a run that crashes has said what went before
  options given;
  CLI::App app{"Runs simulated clusters: each seed is another one, and always the same."};
  auto* const one = app.add_option("--seed", given.first, "run this one alone");
  app.add_option("--first", given.first, "the first seed")->excludes(one);
  app.add_option("--seeds", given.seeds, "how many")->excludes(one);
  const std::map<std::string, direction> directions{{"ingest", direction::ingest}, {"publish", direction::publish}};
  app.add_option("--only", given.only, "ingest or publish; without it the seed decides")
    ->transform(CLI::Transformer(directions));
  app.add_flag("--verbose", given.verbose, "print all that happens, and the log");
  CLI11_PARSE(app, argc, argv);
  penstock::log::init({.minimum = given.verbose ? penstock::log::level::info : penstock::log::level::error});
  if (*one)
    given.seeds = 1;
  const auto began = std::chrono::steady_clock::now();
  std::map<std::string, std::uint64_t> counts;
  std::uint64_t failed = 0;
  for (auto seed = given.first; seed < given.first + given.seeds; ++seed)
    failed += run(seed, given, counts, seed % 20 == 1) ? 0 : 1;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  fmt::print("{} of {} seeds failed; {:.1f} seeds/s;", failed, given.seeds,
             static_cast<double>(given.seeds) / took.count());
  for (const auto& [what, count] : counts)
    fmt::print(" {} {},", count, what);
  fmt::print("\n");
  return failed == 0 ? 0 : 1;
}
