# Stands in for Zephyr's own CMake package: the functions that a module uses, with Zephyr's meaning, for the host.
# As there, Kconfig values of prj.conf come first, then each extra module, and every object of every library is linked.
enable_language(C)

file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/prj.conf settings REGEX "^CONFIG_")
foreach(setting ${settings})
  string(REGEX MATCH "^(CONFIG_[A-Z0-9_]+)=y$" is_valid "${setting}")
  if(NOT is_valid)
    message(FATAL_ERROR "prj.conf: ${setting}")
  endif()
  set(${CMAKE_MATCH_1} y)
endforeach()

add_library(zephyr_interface INTERFACE)
target_include_directories(zephyr_interface INTERFACE ${CMAKE_CURRENT_LIST_DIR})
add_executable(app)
target_link_libraries(app PRIVATE zephyr_interface)

macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
  target_link_libraries(${name} PUBLIC zephyr_interface)
  target_link_libraries(app PRIVATE -Wl,--whole-archive ${name} -Wl,--no-whole-archive)
endmacro()

function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

function(zephyr_include_directories)
  foreach(folder ${ARGN})
    get_filename_component(folder ${folder} ABSOLUTE)
    target_include_directories(zephyr_interface INTERFACE ${folder})
  endforeach()
endfunction()

foreach(module ${EXTRA_ZEPHYR_MODULES})
  file(STRINGS ${module}/zephyr/module.yml name REGEX "^name: ")
  file(STRINGS ${module}/zephyr/module.yml lists REGEX "^  cmake: ")
  string(REPLACE "name: " "" name "${name}")
  string(REPLACE "  cmake: " "" lists "${lists}")
  add_subdirectory(${module}/${lists} ${CMAKE_BINARY_DIR}/modules/${name})
endforeach()
