// Distribution of a batch's texts among groups of about equal size, with little padding at their ends.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

namespace submillion {

// The indices of each group's texts, and their total rows.
struct Grouping {
  std::vector<std::vector<int>> texts;
  std::vector<long> rows;
};

// Assigns texts, longest first, to the group with the most free rows. Every group gets one text before any
// gets two; there are at least as many texts as groups.
inline Grouping assign_longest_first(const std::vector<long>& lengths, const std::vector<long>& capacity) {
  Grouping g{std::vector<std::vector<int>>(capacity.size()), std::vector<long>(capacity.size())};
  std::vector<int> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return lengths[a] > lengths[b]; });
  size_t assigned = 0;
  for (int text : order) {
    size_t best = std::min(assigned++, capacity.size());
    if (best == capacity.size()) {
      best = 0;
      for (size_t i = 1; i < capacity.size(); i++)
        if (capacity[i] - g.rows[i] > capacity[best] - g.rows[best]) best = i;
    }
    g.texts[best].push_back(text), g.rows[best] += lengths[text];
  }
  return g;
}

// Swaps texts between groups while that reduces the rows beyond the capacities. Returns whether all fit.
inline bool swap_until_fit(Grouping& g, const std::vector<long>& lengths, const std::vector<long>& capacity) {
  enum { MAX_CANDIDATES = 64 };  // texts considered per group: enough different lengths to choose from
  auto excess = [&](size_t i, long rows) { return std::max(0l, rows - capacity[i]); };
  for (bool changed = true; changed;) {
    changed = false;
    bool fits = true;
    for (size_t i = 0; i < capacity.size(); i++) {
      if (g.rows[i] <= capacity[i]) continue;
      fits = false;
      long best_change = 0;
      int *mine = nullptr, *theirs = nullptr;
      size_t partner = 0;
      for (size_t j = 0; j < capacity.size(); j++) {
        if (j == i) continue;
        for (size_t a = 0; a < g.texts[i].size() && a < MAX_CANDIDATES; a++)
          for (size_t b = 0; b < g.texts[j].size() && b < MAX_CANDIDATES; b++) {
            const long moved = lengths[g.texts[i][a]] - lengths[g.texts[j][b]];
            const long change = excess(i, g.rows[i] - moved) + excess(j, g.rows[j] + moved) -
                                excess(i, g.rows[i]) - excess(j, g.rows[j]);
            if (change < best_change)
              best_change = change, mine = &g.texts[i][a], theirs = &g.texts[j][b], partner = j;
          }
      }
      if (!mine) continue;
      const long moved = lengths[*mine] - lengths[*theirs];
      std::swap(*mine, *theirs);
      g.rows[i] -= moved, g.rows[partner] += moved;
      changed = true;
    }
    if (fits) return true;
  }
  return false;
}

// Distributes texts among `count` groups whose rows are padded to multiples of `multiple`, with as few padded
// rows as the search finds.
inline Grouping group_texts(const std::vector<long>& lengths, long count, long multiple) {
  if (count == 0) return {};
  const long total = std::accumulate(lengths.begin(), lengths.end(), 0l);
  const Grouping unlimited = assign_longest_first(lengths, std::vector<long>(count, total));
  long max_units = 0;
  for (long rows : unlimited.rows) max_units += (rows + multiple - 1) / multiple;
  for (long units = std::max(count, (total + multiple - 1) / multiple); units < max_units; units++) {
    std::vector<long> capacity(count);
    for (long i = 0; i < count; i++) capacity[i] = (units / count + (i < units % count)) * multiple;
    Grouping g = assign_longest_first(lengths, capacity);
    if (swap_until_fit(g, lengths, capacity)) return g;
  }
  return unlimited;
}

}  // namespace submillion
