// Runs a fuzz target over mutations of its seeds.
//
//   fuzz_NAME [--seconds N] [--seed N] [--dictionary FILE] FOLDER...   mutate what is in the folders
//   fuzz_NAME FILE...                                                  run each file once, as it is
//
// A child runs the target; the current input is in memory that both share, so it survives whatever ends the child. An
// input that ends it, or that takes longer than hang_limit, is written to a file of the current folder.
//
// A file named *.hex, and a dictionary, is text: hexadecimal bytes, 'text' for its bytes, # for a comment; a line of a
// dictionary is a token.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;
using input = std::string;

constexpr std::size_t input_bytes_max = 64 * 1024;
constexpr auto hang_limit = 30s;

/// What the child is at. Its memory is shared with the parent.
struct progress {
  volatile std::uint64_t runs;
  volatile std::uint64_t size;
  char bytes[input_bytes_max];
};

struct options {
  std::chrono::seconds duration{10};
  std::uint64_t seed = std::random_device{}();
  std::vector<input> seeds;
  std::vector<input> dictionary;
  std::vector<input> replayed;
};

input parse_hex(std::string_view text) {
  input bytes;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '\'') {
      const auto end = text.find('\'', at + 1);
      if (end == std::string_view::npos)
        throw std::invalid_argument{"a ' without its end"};
      bytes += text.substr(at + 1, end - at - 1);
      at = end + 1;
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++at;
    } else {
      bytes += static_cast<char>(std::stoi(std::string{text.substr(at, 2)}, nullptr, 16));
      at += 2;
    }
  }
  return bytes;
}

input read(const fs::path& file) {
  std::ifstream stream{file, std::ios::binary};
  if (!stream)
    throw std::invalid_argument{"cannot read " + file.string()};
  input bytes{std::istreambuf_iterator<char>{stream}, {}};
  return file.extension() == ".hex" ? parse_hex(bytes) : bytes;
}

std::vector<input> read_dictionary(const fs::path& file) {
  std::vector<input> tokens;
  std::istringstream lines{read(file)};
  for (std::string line; std::getline(lines, line);)
    if (auto token = parse_hex(line); !token.empty())
      tokens.push_back(std::move(token));
  return tokens;
}

/// In the order of their names, so that a seed means the same run everywhere.
void add_folder(const fs::path& folder, std::vector<input>& seeds) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator{folder})
    if (entry.is_regular_file())
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files)
    seeds.push_back(read(file).substr(0, input_bytes_max));
}

class mutator {
public:
  mutator(const options& from) : seeds_(from.seeds), dictionary_(from.dictionary), random_(from.seed) {}

  input next() {
    if (unchanged_ < seeds_.size())
      return seeds_[unchanged_++];
    input bytes = pick(seeds_);
    do
      change(bytes);
    while (below(3) != 0);
    bytes.resize(std::min(bytes.size(), input_bytes_max));
    return bytes;
  }

private:
  // Not a distribution of the standard library: those differ between libraries.
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  const input& pick(const std::vector<input>& from) { return from[below(from.size())]; }

  /// A range of `bytes`, short ones more often.
  std::pair<std::size_t, std::size_t> range(const input& bytes) {
    const std::size_t begin = below(bytes.size() + 1);
    const std::size_t longest = std::min(bytes.size() - begin, std::size_t{1} << below(11));
    return {begin, below(longest + 1)};
  }

  void put(input& bytes, const input& token) {
    const std::size_t at = below(bytes.size() + 1);
    if (below(2) == 0)
      bytes.insert(at, token);
    else
      bytes.replace(at, std::min(token.size(), bytes.size() - at), token);
  }

  input integer() {
    static constexpr std::array<std::uint64_t, 16> values{
      0,      1,          0x7f,       0x80,       0xff,      0x7fff,    0x8000,     0xffff,
      0x3fff, 0x7fffffff, 0x80000000, 0xffffffff, 0x10'0000, 268435455, 1ull << 63, ~0ull};
    const std::uint64_t value = values[below(values.size())] + below(3) - 1;
    if (below(3) == 0)
      return std::to_string(below(2) == 0 ? value : ~value);
    input bytes(std::size_t{1} << below(4), '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<char>(value >> (8 * i));
    if (below(2) == 0)
      std::reverse(bytes.begin(), bytes.end());
    return bytes;
  }

  void change(input& bytes) {
    const auto [begin, length] = range(bytes);
    switch (below(9)) {
    case 0:
      if (begin < bytes.size())
        bytes[begin] = static_cast<char>(bytes[begin] ^ (1 << below(8)));
      break;
    case 1:
      if (begin < bytes.size())
        bytes[begin] = static_cast<char>(random_());
      break;
    case 2: bytes.insert(begin, 1 + below(8), static_cast<char>(random_())); break;
    case 3: bytes.erase(begin, length); break;
    case 4: bytes.resize(begin); break;
    case 5: bytes.insert(below(bytes.size() + 1), bytes.substr(begin, length)); break;
    case 6: {
      const input& other = pick(seeds_);
      bytes.replace(begin, length, other.substr(below(other.size() + 1), std::size_t{1} << below(11)));
      break;
    }
    case 7: put(bytes, integer()); break;
    default: put(bytes, dictionary_.empty() ? integer() : pick(dictionary_));
    }
  }

  const std::vector<input>& seeds_;
  const std::vector<input>& dictionary_;
  std::mt19937_64 random_;
  std::size_t unchanged_ = 0;
};

int run_target(const input& bytes) {
  // A copy of its exact size, so that the sanitizer sees a read past its end.
  const std::vector<std::uint8_t> exact{bytes.begin(), bytes.end()};
  return LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

int run_child(const options& how, progress& now) {
  mutator mutate{how};
  const auto end = steady::now() + how.duration;
  while (steady::now() < end || now.runs < how.seeds.size()) {
    const input bytes = mutate.next();
    std::memcpy(now.bytes, bytes.data(), bytes.size());
    now.size = bytes.size();
    run_target(bytes);
    now.runs = now.runs + 1;
  }
  return 0;
}

/// The child's wait status; a child that hangs is ended.
int watch(pid_t child, const progress& now, bool& hung) {
  int status = 0;
  std::uint64_t runs = 0;
  auto moved = steady::now();
  while (::waitpid(child, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(10ms);
    if (now.runs != runs) {
      runs = now.runs;
      moved = steady::now();
    }
    if (!hung && steady::now() - moved > hang_limit) {
      hung = true;
      ::kill(child, SIGABRT);
    }
  }
  return status;
}

int report(const options& how, const fs::path& program, const progress& now, int status, bool hung) {
  const std::string name = program.filename().string();
  if (!hung && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    std::printf("%s: seed %llu, %llu inputs, no failure\n", name.c_str(), static_cast<unsigned long long>(how.seed),
                static_cast<unsigned long long>(now.runs));
    return 0;
  }
  const fs::path file = fs::absolute(name + "-" + std::to_string(how.seed) + ".failure");
  std::ofstream{file, std::ios::binary}.write(now.bytes, static_cast<std::streamsize>(now.size));
  std::printf("%s: seed %llu, input %llu of %llu bytes %s; it is in %s\nrun it again: %s %s\n", name.c_str(),
              static_cast<unsigned long long>(how.seed), static_cast<unsigned long long>(now.runs),
              static_cast<unsigned long long>(now.size), hung ? "did not end" : "failed", file.c_str(), program.c_str(),
              file.c_str());
  return 1;
}

int fuzz(const options& how, const fs::path& program) {
  void* const shared = ::mmap(nullptr, sizeof(progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    throw std::runtime_error{"no memory to share"};
  auto& now = *static_cast<progress*>(shared);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0)
    throw std::runtime_error{"no child process"};
  if (child == 0)
    std::exit(run_child(how, now)); // not _exit: the leak check is at the end
  bool hung = false;
  const int status = watch(child, now, hung);
  return report(how, program, now, status, hung);
}

options parse(const std::vector<std::string>& arguments) {
  options how;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument.starts_with("--") && i + 1 == arguments.size())
      throw std::invalid_argument{argument + " needs a value"};
    if (argument == "--seconds")
      how.duration = std::chrono::seconds{std::stoul(arguments[++i])};
    else if (argument == "--seed")
      how.seed = std::stoull(arguments[++i]);
    else if (argument == "--dictionary")
      how.dictionary = read_dictionary(arguments[++i]);
    else if (fs::is_directory(argument))
      add_folder(argument, how.seeds);
    else
      how.replayed.push_back(read(argument));
  }
  if (const char* seconds = std::getenv("PENSTOCK_FUZZ_SECONDS"))
    how.duration = std::chrono::seconds{std::stoul(seconds)};
  if (const char* seed = std::getenv("PENSTOCK_SEED"))
    how.seed = std::stoull(seed);
  if (how.seeds.empty() == how.replayed.empty())
    throw std::invalid_argument{"either folders of seeds, or files to run again"};
  return how;
}

} // namespace

int main(int argc, char** argv) {
  options how;
  try {
    how = parse({argv + 1, argv + argc});
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s: %s\n", argv[0], failure.what());
    return 64;
  }
  for (const auto& bytes : how.replayed)
    run_target(bytes);
  if (!how.replayed.empty()) {
    std::printf("%zu inputs, no failure\n", how.replayed.size());
    return 0;
  }
  return fuzz(how, argv[0]);
}
