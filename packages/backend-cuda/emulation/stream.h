// The one stream there is. The GPU is as late as it may be: commands run when somebody waits for them, so that what they
// touch must live until then; those of a graph when it is launched.
#pragma once
#include <functional>
#include <vector>

using Commands = std::vector<std::function<void()>>;

struct Stream {
  Commands pending;
  bool capturing = false;
  Commands captured;
};
extern Stream the_stream;

void submit(std::function<void()> command);
