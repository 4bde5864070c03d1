#include "config/findings.hpp"
#include "config/load.hpp"
#include "config/settings.hpp"

#include <algorithm>

namespace penstock::config {

namespace {

struct row_type {
  std::string operator()(const std::string*) const { return "text"; }
  std::string operator()(const bool*) const { return "`true`, `false`"; }
  std::string operator()(const number& n) const {
    return n.what == number::unit::count ? "number" : n.what == number::unit::bytes ? "size" : "duration";
  }
  std::string operator()(const secret*) const { return "secret"; }
  std::string operator()(const std::filesystem::path*) const { return "path"; }
  std::string operator()(const std::vector<std::string>*) const { return "list of texts"; }
  std::string operator()(const one_or_more&) const { return "text, or list of texts"; }
  std::string operator()(const index_lists*) const { return "list of lists of columns"; }
  std::string operator()(const word& w) const { return w.kind; }
  std::string operator()(const word_list& w) const { return w.kind; }
  std::string operator()(const named_texts& t) const { return t.kind; }
  std::string operator()(const section&) const { return "section"; }
  std::string operator()(const optional_section&) const { return "section"; }
  std::string operator()(const named_sections&) const { return "sections by name"; }
  std::string operator()(const listed_sections&) const { return "list of sections"; }
};

struct row_default {
  std::string operator()(std::string* value) const { return *value; }
  std::string operator()(bool* value) const { return *value ? "true" : "false"; }
  std::string operator()(const number& n) const { return to_text(n, n.get()); }
  std::string operator()(std::filesystem::path* value) const { return value->string(); }
  std::string operator()(const word& w) const { return w.get().value_or(""); }
  std::string operator()(const word_list& w) const { return list_of(w.all()); }
  template <class Other>
  std::string operator()(const Other&) const {
    return {};
  }
};

std::string bounds_of(const setting& s) {
  const auto* n = std::get_if<number>(&s.value);
  if (n == nullptr)
    return {};
  return to_text(*n, s.min) + " to " + to_text(*n, std::min(s.max, n->max)) + (n->zero_is_never ? ", or `never`" : "");
}

void write_rows(const section& settings, const std::string& path, std::string& out);

void write_row(const setting& s, const std::string& path, std::string& out) {
  const std::string value = std::visit(row_default{}, s.value);
  const std::string preset = s.is_required ? "**required**" : value.empty() ? "" : "`" + value + "`";
  out += "| `" + path + "` | " + std::visit(row_type{}, s.value) + " | " + preset + " | " + bounds_of(s) + " | " +
         s.doc + " |\n";
  if (const auto* inner = std::get_if<section>(&s.value))
    write_rows(*inner, path, out);
  else if (const auto* some = std::get_if<optional_section>(&s.value))
    write_rows(some->make(), path, out);
  else if (const auto* named = std::get_if<named_sections>(&s.value))
    write_rows(named->add("NAME"), path + ".NAME", out);
  else if (const auto* listed = std::get_if<listed_sections>(&s.value))
    write_rows(listed->add(), path + "[]", out);
}

void write_rows(const section& settings, const std::string& path, std::string& out) {
  for (const setting& s : settings)
    write_row(s, below(path, s.name), out);
}

} // namespace

std::string reference_markdown() {
  configuration sample;
  std::string out = "| Setting | Type | Default | Bounds | Meaning |\n|---|---|---|---|---|\n";
  write_rows(describe(sample), "", out);
  return out;
}

} // namespace penstock::config
