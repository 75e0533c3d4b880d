// NVRTC on the CPU: hands the text to g++ with device.h in front of it. EMULATED_CUDA_INCLUDE names the folder of that
// file and EMULATED_CUDA_FLAGS further flags of g++, such as those of the sanitizers.
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>

namespace {
struct Program {
  std::string source, log, image;
};

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string setting(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

/// A sanitizer that is loaded into this process would make a compiler many times slower.
bool run(const std::string& command) { return system(("LD_PRELOAD= " + command).c_str()) == 0; }

/// The text with what g++ cannot take replaced, and every kernel made known to the driver.
std::string translated(const std::string& preprocessed) {
  static const std::regex dynamic(R"(extern\s+__shared__\s+(?:__align__\s*\(\d+\)\s*)?([\w\s]+?)\s+(\w+)\s*\[\s*\]\s*;)");
  std::string text = std::regex_replace(preprocessed, dynamic, "$1* const $2 = reinterpret_cast<$1*>(emulated::dynamic_shared);");
  static const std::regex barrier(R"(__sync|__shfl|__ballot|__any_|__all_)");
  static const std::regex kernel(R"(__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\()");
  static const std::regex bounds_first(R"(__launch_bounds__\s*\([^)]*\))");
  text = std::regex_replace(text, bounds_first, "");
  std::string registrations;
  for (std::sregex_iterator it(text.begin(), text.end(), kernel), end; it != end; ++it) {
    const std::string name = (*it)[1];
    registrations += "static const bool added_" + name + " = emulated::add<" + name + ">(\"" + name + "\");\n";
  }
  const bool barriers = std::regex_search(text, barrier);
  return std::string("namespace emulated { constexpr bool has_barriers = ") + (barriers ? "true" : "false") +
         "; }\n#include \"device.h\"\n" + text + "\n" + registrations;
}
}  // namespace

extern "C" {
/// No NVRTC has this version, so that nothing compiled here is taken for a GPU's.
int nvrtcVersion(int* major, int* minor) {
  *major = 0;
  *minor = 1;
  return 0;
}
int nvrtcGetNumSupportedArchs(int* count) {
  *count = 1;
  return 0;
}
int nvrtcGetSupportedArchs(int* architectures) {
  architectures[0] = 90;
  return 0;
}
int nvrtcCreateProgram(void** program, const char* source, const char*, int, void*, void*) {
  *program = new Program{source, "", ""};
  return 0;
}
int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}
int nvrtcCompileProgram(void* handle, int, const char* const*) {
  Program& program = *static_cast<Program*>(handle);
  char folder[] = "/tmp/emulated_nvrtc_XXXXXX";
  if (!mkdtemp(folder)) return 1;
  const std::string base = std::string(folder) + "/kernel";
  std::ofstream(base + ".cu") << program.source;
  const std::string log = " 2>>" + base + ".log";
  bool done = run("g++ -E -P -x c++ " + base + ".cu -o " + base + ".i" + log);
  if (done) {
    std::ofstream(base + ".cc") << translated(contents(base + ".i"));
    done = run("g++ -std=c++17 -O1 -fPIC -shared -w -fno-strict-aliasing -Wl,-Bsymbolic -I" + setting("EMULATED_CUDA_INCLUDE") +
               " " + setting("EMULATED_CUDA_FLAGS") + " " + base + ".cc -o " + base + ".so" + log);
  }
  program.log = contents(base + ".log");
  if (done) {
    const std::string library = contents(base + ".so");
    const size_t bytes = library.size();
    program.image = "EMULATED" + std::string(reinterpret_cast<const char*>(&bytes), 8) + library;
  }
  run(std::string("rm -r ") + folder);
  return done ? 0 : 6;
}
int nvrtcGetProgramLogSize(void* program, size_t* bytes) {
  *bytes = static_cast<Program*>(program)->log.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(void* program, char* to) {
  strcpy(to, static_cast<Program*>(program)->log.c_str());
  return 0;
}
int nvrtcGetCUBINSize(void* program, size_t* bytes) {
  *bytes = static_cast<Program*>(program)->image.size();
  return 0;
}
int nvrtcGetCUBIN(void* program, char* to) {
  const std::string& image = static_cast<Program*>(program)->image;
  memcpy(to, image.data(), image.size());
  return 0;
}
int nvrtcGetPTXSize(void* program, size_t* bytes) { return nvrtcGetCUBINSize(program, bytes); }
int nvrtcGetPTX(void* program, char* to) { return nvrtcGetCUBIN(program, to); }
const char* nvrtcGetErrorString(int) { return "emulated NVRTC error"; }
}
