#include "config/reader.hpp"

#include <algorithm>
#include <charconv>

namespace penstock::config {

namespace {

const setting* find(const section& settings, std::string_view name) {
  const auto found = std::find_if(settings.begin(), settings.end(), [&](const setting& s) { return s.name == name; });
  return found == settings.end() ? nullptr : &*found;
}

std::vector<std::string> names_of(const section& settings) {
  std::vector<std::string> names;
  for (const setting& s : settings)
    names.push_back(s.name);
  return names;
}

result<std::uint64_t> parse_number(const number& to, const std::string& text) {
  if (to.what == number::unit::bytes)
    return parse_size(text);
  if (to.what == number::unit::duration) {
    const auto duration = parse_duration(text);
    if (!duration)
      return duration.error();
    return static_cast<std::uint64_t>(duration->count());
  }
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size())
    return error{errc::configuration, "must be a whole number, 0 or above"};
  return value;
}

} // namespace

void reader::read(const section& settings, const tree& from, const std::string& path) {
  if (!is_map(from, path))
    return;
  read_unknown(settings, from, path);
  for (const setting& declared : settings) {
    const std::string here = below(path, declared.name);
    if (const tree::member* member = from.find(declared.name)) {
      problems_.place(here, member->at, member->value.at, member->value.text);
      std::visit([&](const auto& to) { take(to, input{declared, member->value, here}); }, declared.value);
    } else if (declared.is_required && problems_.sound(here)) {
      problems_.add(here, "is missing: " + declared.doc);
    }
  }
}

void reader::read_unknown(const section& settings, const tree& from, const std::string& path) {
  for (const tree::member& member : from.members) {
    if (find(settings, member.key) != nullptr)
      continue;
    const auto all = names_of(settings);
    const std::string meant = nearest(member.key, all);
    const std::string advice = meant.empty() ? "; known here: " + list_of(all) : "; did you mean '" + meant + "'?";
    problems_.add(member.at, below(path, fit_for_path(member.key)), "is not a setting" + advice);
    // What was misspelt is not missing as well.
    if (!meant.empty() && from.find(meant) == nullptr)
      problems_.spoil(below(path, meant));
  }
}

bool reader::is_map(const tree& value, const std::string& path) {
  if (value.what == tree::kind::map)
    return true;
  if (path.empty())
    problems_.add(value.at.line == 0 ? mark{1, 1} : value.at, path,
                  "the file has no settings; it must begin with some, such as `brokers:`");
  else
    problems_.add(path, "must be a section of `name: value`, but is " + std::string{name_of(value.what)});
  return false;
}

bool reader::is_list(const tree& value, const std::string& path, std::string_view expected) {
  if (value.what == tree::kind::list)
    return true;
  problems_.add(path,
                "must be a list, such as " + std::string{expected} + ", but is " + std::string{name_of(value.what)});
  return false;
}

std::optional<std::string> reader::scalar(const tree& value, const std::string& path, std::string_view expected) {
  if (value.what != tree::kind::scalar) {
    const std::string has = value.what == tree::kind::nothing ? "has no value; give it " : "must be ";
    problems_.add(path, has + std::string{expected} +
                          (value.what == tree::kind::nothing ? ", or remove the line"
                                                             : ", but is " + std::string{name_of(value.what)}));
    return std::nullopt;
  }
  auto text = with_variables(value.text, variables_);
  if (!text) {
    problems_.add(path, text.error().message);
    return std::nullopt;
  }
  if (text->find('\0') != std::string::npos) {
    problems_.add(path, "contains the character 0, which no setting takes");
    return std::nullopt;
  }
  return std::move(*text);
}

bool reader::plain(const tree& value, const std::string& path, std::string_view expected) {
  // JSON can hold a variable in quotes only.
  if (!value.quoted || has_variables(value.text))
    return true;
  problems_.add(path, "must be " + std::string{expected} + ", but is text; remove the quotes");
  return false;
}

void reader::take(std::string* to, const input& in) {
  auto text = scalar(in.value, in.path, "text");
  if (!text)
    return;
  if (text->empty() && in.declared.is_required)
    return problems_.add(in.path, "must not be empty: " + in.declared.doc);
  *to = std::move(*text);
}

void reader::take(bool* to, const input& in) {
  const auto text = scalar(in.value, in.path, "true or false");
  if (!text || !plain(in.value, in.path, "true or false"))
    return;
  if (*text != "true" && *text != "false")
    return problems_.add(in.path, "must be true or false, not " + problems_.written(in.path));
  *to = *text == "true";
}

void reader::take(const number& to, const input& in) {
  const bool counts = to.what == number::unit::count;
  const auto text = scalar(in.value, in.path,
                           counts                           ? "a whole number"
                           : to.what == number::unit::bytes ? "a size"
                                                            : "a duration");
  if (!text || (counts && !plain(in.value, in.path, "a whole number")))
    return;
  if (to.zero_is_never && *text == "never")
    return to.set(0);
  const std::string or_never = to.zero_is_never ? ", or never" : "";
  const auto value = parse_number(to, *text);
  if (!value)
    return problems_.add(in.path, value.error().message + or_never + "; it is " + problems_.written(in.path));
  const std::uint64_t most = std::min(in.declared.max, to.max);
  if (*value < in.declared.min || *value > most)
    return problems_.add(in.path, "must be from " + to_text(to, in.declared.min) + " to " + to_text(to, most) +
                                    or_never + ", not " + problems_.written(in.path) +
                                    (in.declared.bounds_reason.empty() ? "" : ": " + in.declared.bounds_reason));
  to.set(*value);
}

void reader::take(secret* to, const input& in) {
  if (auto text = scalar(in.value, in.path, "text"))
    to->value = std::move(*text);
}

void reader::take(std::filesystem::path* to, const input& in) {
  const auto text = scalar(in.value, in.path, "a path");
  if (text && !text->empty())
    *to = (folder_ / *text).lexically_normal();
}

void reader::take(std::vector<std::string>* to, const input& in) {
  if (!is_list(in.value, in.path, "[a, b]"))
    return;
  if (in.value.items.empty() && in.declared.is_required)
    return problems_.add(in.path, "must not be empty: " + in.declared.doc);
  to->clear();
  for (std::size_t i = 0; i < in.value.items.size(); ++i) {
    const tree& item = in.value.items[i];
    const std::string here = below(in.path, i);
    problems_.place(here, item.at, item.at, item.text);
    if (auto text = scalar(item, here, "text"))
      to->push_back(std::move(*text));
  }
}

void reader::take(const one_or_more& to, const input& in) {
  if (in.value.what == tree::kind::list)
    return take(to.value, in);
  const auto text = scalar(in.value, in.path, "a name, or a list such as [a, b]");
  if (!text)
    return;
  if (text->empty() && in.declared.is_required)
    return problems_.add(in.path, "must not be empty: " + in.declared.doc);
  *to.value = {*text};
}

void reader::take(index_lists* to, const input& in) {
  if (!is_list(in.value, in.path, "[[user_id, time desc]]"))
    return;
  to->clear();
  for (std::size_t i = 0; i < in.value.items.size(); ++i) {
    const tree& list = in.value.items[i];
    const std::string here = below(in.path, i);
    problems_.place(here, list.at, list.at);
    if (!is_list(list, here, "[user_id, time desc]"))
      continue;
    if (list.items.empty())
      problems_.add(here, "an index needs at least one column");
    auto& columns = to->emplace_back();
    for (std::size_t k = 0; k < list.items.size(); ++k) {
      const tree& item = list.items[k];
      const std::string place = below(here, k);
      problems_.place(place, item.at, item.at, item.text);
      const auto text = scalar(item, place, "a column");
      if (!text)
        continue;
      if (auto column = parse_index_column(*text))
        columns.push_back(std::move(*column));
      else
        problems_.add(place, column.error().message + "; it is " + problems_.written(place));
    }
  }
}

void reader::take(const word& to, const input& in) {
  const auto text = scalar(in.value, in.path, "a single value");
  if (!text)
    return;
  if (const std::string wrong = to.set(*text); !wrong.empty())
    problems_.add(in.path, wrong + "; it is " + problems_.written(in.path));
}

void reader::take(const word_list& to, const input& in) {
  if (!is_list(in.value, in.path, "[a, b]"))
    return;
  if (in.value.items.empty())
    return problems_.add(in.path, "must not be empty; name something, or remove it");
  to.clear();
  for (std::size_t i = 0; i < in.value.items.size(); ++i) {
    const tree& item = in.value.items[i];
    const std::string here = below(in.path, i);
    problems_.place(here, item.at, item.at, item.text);
    const auto text = scalar(item, here, "text");
    if (!text)
      continue;
    if (const std::string wrong = to.add(*text); !wrong.empty())
      problems_.add(here, wrong + "; it is " + problems_.written(here));
  }
}

void reader::take(const named_texts& to, const input& in) {
  if (!is_map(in.value, in.path))
    return;
  const auto& members = in.value.members;
  if (members.empty())
    return problems_.add(in.path, "must not be empty; name something, or remove it");
  for (std::size_t i = 0; i < members.size(); ++i) {
    const tree::member& member = members[i];
    const std::string here = path_of_member(in.path, member.key, i);
    problems_.place(here, member.at, member.value.at, member.value.text);
    const auto text = scalar(member.value, here, "text");
    if (!text)
      continue;
    if (const std::string wrong = to.add(member.key, *text); !wrong.empty())
      problems_.add(here, wrong + "; it is " + problems_.written(here));
  }
}

void reader::take(const section& to, const input& in) { read(to, in.value, in.path); }

void reader::take(const optional_section& to, const input& in) { read(to.make(), in.value, in.path); }

void reader::take(const named_sections& to, const input& in) {
  if (!is_map(in.value, in.path))
    return;
  if (in.value.members.empty() && in.declared.is_required)
    problems_.add(in.path, "must not be empty: " + in.declared.doc);
  for (const tree::member& member : in.value.members) {
    const std::string here = below(in.path, fit_for_path(member.key));
    if (to.column_names ? !is_identifier(member.key) : !is_name(member.key)) {
      problems_.add(member.at, here,
                    to.column_names
                      ? "a column's name has letters, digits and _, begins with no digit, and has at most 63"
                      : "a name has letters, digits, - and _, and at most 64");
      continue;
    }
    problems_.place(here, member.at, member.value.at, member.value.text);
    read(to.add(member.key), member.value, here);
  }
}

void reader::take(const listed_sections& to, const input& in) {
  if (!is_list(in.value, in.path, "[{name: value}]"))
    return;
  for (std::size_t i = 0; i < in.value.items.size(); ++i) {
    const tree& item = in.value.items[i];
    const std::string here = below(in.path, i);
    problems_.place(here, item.at, item.at);
    read(to.add(), item, here);
  }
}

} // namespace penstock::config
