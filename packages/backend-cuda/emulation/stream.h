// The one stream there is: commands run when they are submitted, or are kept while a graph is being captured.
#pragma once
#include <functional>
#include <vector>

using Commands = std::vector<std::function<void()>>;

struct Stream {
  bool capturing = false;
  Commands captured;
};
extern Stream the_stream;

void submit(std::function<void()> command);
