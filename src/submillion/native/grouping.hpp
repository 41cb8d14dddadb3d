// Which texts of a batch go into which group: groups alike in size, with little padding at their ends.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

// The texts of each group, by their numbers, and the rows they have together.
struct Grouping {
  std::vector<std::vector<int>> texts;
  std::vector<long> rows;
};

// Longest first, each text to the group that has the most room, but one to each before any has two; there are at least
// as many texts as groups.
inline Grouping spread(const std::vector<long>& lengths, const std::vector<long>& room) {
  Grouping g{std::vector<std::vector<int>>(room.size()), std::vector<long>(room.size())};
  std::vector<int> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return lengths[a] > lengths[b]; });
  size_t placed = 0;
  for (int text : order) {
    size_t best = std::min(placed++, room.size());
    if (best == room.size()) {
      best = 0;
      for (size_t i = 1; i < room.size(); i++)
        if (room[i] - g.rows[i] > room[best] - g.rows[best]) best = i;
    }
    g.texts[best].push_back(text), g.rows[best] += lengths[text];
  }
  return g;
}

// Exchanges texts between groups as long as that brings some group's rows nearer to its room; whether all fit then.
inline bool exchange(Grouping& g, const std::vector<long>& lengths, const std::vector<long>& room) {
  enum { FEW = 64 };  // texts of a group that are looked at: enough lengths to choose from
  auto over = [&](size_t i, long rows) { return std::max(0l, rows - room[i]); };
  for (bool changed = true; changed;) {
    changed = false;
    bool fits = true;
    for (size_t i = 0; i < room.size(); i++) {
      if (g.rows[i] <= room[i]) continue;
      fits = false;
      long least = 0;
      int *mine = nullptr, *theirs = nullptr;
      size_t with = 0;
      for (size_t j = 0; j < room.size(); j++) {
        if (j == i) continue;
        for (size_t a = 0; a < g.texts[i].size() && a < FEW; a++)
          for (size_t b = 0; b < g.texts[j].size() && b < FEW; b++) {
            const long more = lengths[g.texts[i][a]] - lengths[g.texts[j][b]];
            const long change = over(i, g.rows[i] - more) + over(j, g.rows[j] + more) - over(i, g.rows[i]) - over(j, g.rows[j]);
            if (change < least) least = change, mine = &g.texts[i][a], theirs = &g.texts[j][b], with = j;
          }
      }
      if (!mine) continue;
      const long more = lengths[*mine] - lengths[*theirs];
      std::swap(*mine, *theirs);
      g.rows[i] -= more, g.rows[with] += more;
      changed = true;
    }
    if (fits) return true;
  }
  return false;
}

// Shares texts among `count` groups whose rows are padded to multiples of `side`: as few of them as can be found.
inline Grouping grouped(const std::vector<long>& lengths, long count, long side) {
  if (count == 0) return {};
  const long total = std::accumulate(lengths.begin(), lengths.end(), 0l);
  const Grouping plain = spread(lengths, std::vector<long>(count, total));
  long most = 0;
  for (long rows : plain.rows) most += (rows + side - 1) / side;
  for (long blocks = std::max(count, (total + side - 1) / side); blocks < most; blocks++) {
    std::vector<long> room(count);
    for (long i = 0; i < count; i++) room[i] = (blocks / count + (i < blocks % count)) * side;
    Grouping g = spread(lengths, room);
    if (exchange(g, lengths, room)) return g;
  }
  return plain;
}
