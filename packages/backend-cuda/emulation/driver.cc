// The part of the CUDA driver that the backend uses, on the CPU. Memory is the process's own, and a module is a shared
// library made by the emulated NVRTC.
#include <dlfcn.h>
#include <unistd.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>
#include "stream.h"

namespace {
enum Result { success = 0, invalid_value = 1, out_of_memory = 2, invalid_image = 200, not_found = 500, not_ready = 600, launch_failed = 719, capturing = 900 };

/// Mirrors `emulated::Kernel` of block.h, which belongs to the modules.
struct Kernel {
  const char* name;
  const char* (*run)(const unsigned* grid, const unsigned* block, unsigned shared, void** parameters);
  const size_t* parameter_sizes;
  int parameter_count;
};

struct Module {
  void* library;
  const Kernel* kernels;
  size_t count;
};

struct Event {
  int queries_until_done = 0;
};

struct Graph {
  Commands commands;
};

std::map<uint64_t, size_t> allocations;
/// Memory of the host's by cuMemHostAlloc.
std::map<uint64_t, size_t> pinned;
size_t bytes_in_use = 0;
Result sticky = success;
/// The kernel that runs, if one does.
const char* running = nullptr;

size_t total_memory() {
  const char* bytes = getenv("EMULATED_CUDA_MEMORY");
  return bytes ? strtoull(bytes, nullptr, 10) : size_t(8) << 30;
}

bool is_pinned(const void* memory) {
  const uint64_t address = reinterpret_cast<uint64_t>(memory);
  const auto after = pinned.upper_bound(address);
  return after != pinned.begin() && address < std::prev(after)->first + std::prev(after)->second;
}

/// Waits for the GPU.
Result drain() {
  Commands commands;
  commands.swap(the_stream.pending);
  for (const auto& command : commands)
    if (!sticky) command();
  return sticky;
}
}  // namespace

Stream the_stream;

/// With EMULATED_CUDA_IDLE nothing is computed, and zeros are read: what is left is what it costs to ask for it.
bool idle() { return getenv("EMULATED_CUDA_IDLE"); }
void submit(std::function<void()> command) {
  if (idle()) return;
  (the_stream.capturing ? the_stream.captured : the_stream.pending).push_back(std::move(command));
}

extern "C" {
int cuInit(unsigned) { return success; }
int cuDriverGetVersion(int* version) {
  const char* wanted = getenv("EMULATED_CUDA_VERSION");
  *version = wanted ? atoi(wanted) : 13000;
  return success;
}
int cuDeviceGetCount(int* count) {
  const char* wanted = getenv("EMULATED_CUDA_DEVICES");
  *count = wanted ? atoi(wanted) : 1;
  return success;
}
int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return success;
}
int cuDeviceGetName(char* name, int length, int) {
  snprintf(name, length, "emulated GPU");
  return success;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16: *value = 2; return success;           // multiprocessors
    case 75: *value = 9; return success;           // compute capability, major
    case 76: *value = 0; return success;           // and minor
    case 97: *value = 227 * 1024; return success;  // shared memory of a block, after opting in
    default: return invalid_value;
  }
}
int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &the_stream;
  return success;
}
int cuCtxSetCurrent(void*) { return success; }
int cuGetErrorName(int error, const char** name) {
  switch (error) {
    case invalid_value: *name = "CUDA_ERROR_INVALID_VALUE"; return success;
    case out_of_memory: *name = "CUDA_ERROR_OUT_OF_MEMORY"; return success;
    case invalid_image: *name = "CUDA_ERROR_INVALID_IMAGE"; return success;
    case not_found: *name = "CUDA_ERROR_NOT_FOUND"; return success;
    case launch_failed: *name = "CUDA_ERROR_LAUNCH_FAILED"; return success;
    case capturing: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; return success;
    default: *name = nullptr; return invalid_value;
  }
}

int cuMemGetInfo_v2(size_t* available, size_t* total) {
  *total = total_memory();
  *available = *total > bytes_in_use ? *total - bytes_in_use : 0;
  return success;
}
int cuMemAlloc_v2(uint64_t* pointer, size_t bytes) {
  if (bytes == 0) return invalid_value;
  if (bytes_in_use + bytes > total_memory()) return out_of_memory;
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes) != 0) return out_of_memory;
  memset(memory, 0xff, bytes);  // NaN: nobody may rely on fresh memory
  *pointer = reinterpret_cast<uint64_t>(memory);
  allocations[*pointer] = bytes;
  bytes_in_use += bytes;
  return success;
}
int cuMemFree_v2(uint64_t pointer) {
  const auto found = allocations.find(pointer);
  if (found == allocations.end()) return invalid_value;
  drain();
  bytes_in_use -= found->second;
  free(reinterpret_cast<void*>(pointer));
  allocations.erase(found);
  return success;
}
int cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
  if (posix_memalign(pointer, 256, bytes) != 0) return out_of_memory;
  pinned[reinterpret_cast<uint64_t>(*pointer)] = bytes;
  return success;
}
int cuMemFreeHost(void* pointer) {
  if (pinned.erase(reinterpret_cast<uint64_t>(pointer)) == 0) return invalid_value;
  free(pointer);
  return success;
}
/// Pageable memory is read before the call returns, unless the copy is part of a graph.
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
  if (the_stream.capturing || is_pinned(from)) {
    submit([=] { memcpy(reinterpret_cast<void*>(to), from, bytes); });
  } else {
    const char* content = static_cast<const char*>(from);
    std::vector<char> copy(content, content + bytes);
    submit([to, copy = std::move(copy)] { memcpy(reinterpret_cast<void*>(to), copy.data(), copy.size()); });
  }
  return sticky;
}
/// Pageable memory is written before the call returns, unless the copy is part of a graph.
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
  if (idle()) memset(to, 0, bytes);
  submit([=] { memcpy(to, reinterpret_cast<void*>(from), bytes); });
  return the_stream.capturing || is_pinned(to) ? sticky : drain();
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
  submit([=] { memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
  return sticky;
}
int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, void*) {
  submit([=] { std::fill_n(reinterpret_cast<unsigned*>(to), count, value); });
  return sticky;
}

int cuStreamCreate(void** stream, unsigned) {
  *stream = &the_stream;
  return success;
}
int cuStreamSynchronize(void*) { return the_stream.capturing ? capturing : drain(); }
int cuStreamBeginCapture_v2(void*, int) {
  if (the_stream.capturing) return invalid_value;
  the_stream.capturing = true;
  the_stream.captured.clear();
  return success;
}
int cuStreamEndCapture(void*, void** graph) {
  the_stream.capturing = false;
  *graph = new Graph{std::move(the_stream.captured)};
  return success;
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  *executable = new Graph(*static_cast<Graph*>(graph));
  return success;
}
int cuGraphLaunch(void* executable, void*) {
  for (const auto& command : static_cast<Graph*>(executable)->commands) submit(command);
  return sticky;
}
int cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return success;
}
int cuGraphExecDestroy(void* graph) { return cuGraphDestroy(graph); }

int cuEventCreate(void** event, unsigned) {
  *event = new Event;
  return success;
}
int cuEventDestroy_v2(void* event) {
  delete static_cast<Event*>(event);
  return success;
}
/// Work is under way for a while, so that waiting is tested.
int cuEventRecord(void* event, void*) {
  static_cast<Event*>(event)->queries_until_done = 2;
  return sticky;
}
int cuEventQuery(void* event) {
  if (sticky) return sticky;
  return static_cast<Event*>(event)->queries_until_done-- > 0 ? not_ready : drain();
}

/// The image is a shared library. It needs a file of its own, for dlopen knows libraries by their file.
int cuModuleLoadData(void** module, const void* image) {
  const char* text = static_cast<const char*>(image);
  size_t bytes;
  if (memcmp(text, "EMULATED", 8) != 0) return invalid_image;
  memcpy(&bytes, text + 8, 8);
  char path[] = "/tmp/emulated_module_XXXXXX";
  const int file = mkstemp(path);
  const bool written = file >= 0 && write(file, text + 16, bytes) == ssize_t(bytes);
  close(file);
  void* library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!library) fprintf(stderr, "emulated driver: %s\n", written ? dlerror() : "cannot write the module");
  unlink(path);
  if (!library) return invalid_image;
  const auto list = reinterpret_cast<const Kernel* (*)(size_t*)>(dlsym(library, "emulated_kernels"));
  Module* made = new Module{library, nullptr, 0};
  made->kernels = list(&made->count);
  *module = made;
  return success;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  const Module* from = static_cast<Module*>(module);
  for (size_t i = 0; i < from->count; i++) {
    if (strcmp(from->kernels[i].name, name) != 0) continue;
    *function = const_cast<Kernel*>(&from->kernels[i]);
    return success;
  }
  return not_found;
}
int cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
  const Kernel* kernel = static_cast<Kernel*>(function);
  if (index >= size_t(kernel->parameter_count)) return invalid_value;
  *offset = 0;
  *size = kernel->parameter_sizes[index];
  return success;
}
int cuFuncSetAttribute(void*, int, int) { return success; }

int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void*, void** parameters, void**) {
  const Kernel* kernel = static_cast<Kernel*>(function);
  const uint64_t threads = uint64_t(bx) * by * bz;
  if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || gx > 0x7fffffffu || threads == 0 || threads > 1024) {
    return invalid_value;
  }
  std::vector<std::vector<char>> values;
  for (int i = 0; i < kernel->parameter_count; i++) {
    const char* value = static_cast<char*>(parameters[i]);
    values.emplace_back(value, value + kernel->parameter_sizes[i]);
  }
  submit([=]() mutable {
    std::vector<void*> places;
    for (auto& value : values) places.push_back(value.data());
    const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    running = kernel->name;
    const char* failure = kernel->run(grid, block, shared, places.data());
    running = nullptr;
    if (!failure) return;
    fprintf(stderr, "emulated driver: %s: %s\n", kernel->name, failure);
    sticky = launch_failed;
  });
  return getenv("CUDA_LAUNCH_BLOCKING") ? drain() : sticky;
}
}

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>

/// For the tests: what the GPU does from here on may touch the first `used` bytes of a block and not the others. A graph
/// that is being captured runs later, so this is no part of it.
extern "C" void emulated_allow(uint64_t pointer, size_t used, size_t bytes) {
  the_stream.pending.push_back([=] {
    char* block = reinterpret_cast<char*>(pointer);
    ASAN_UNPOISON_MEMORY_REGION(block, used);
    ASAN_POISON_MEMORY_REGION(block + used, bytes - used);
  });
}

/// Reports cannot name a kernel by themselves, for the file of its module is gone.
static void name_kernel(const char*) {
  if (running) fprintf(stderr, "emulated driver: the kernel was %s\n", running);
}
static const bool named = (__asan_set_error_report_callback(name_kernel), true);
#endif
