# What every target of the project is compiled with.
add_library(penstock_options INTERFACE)
target_compile_options(penstock_options INTERFACE -Wall -Wextra -Werror -Wshadow=local -Wnon-virtual-dtor -Wold-style-cast
                                                  -fno-omit-frame-pointer)
# g++ 12 sees overlaps in std::string operator+ that are not there (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(penstock_options INTERFACE -Wno-restrict)
endif()
target_include_directories(penstock_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
# CAF's headers bind null references, and SOCI exports no type information: without null and vptr.
if(PENSTOCK_SANITIZE)
  target_compile_options(penstock_options INTERFACE -fsanitize=address,undefined -fno-sanitize=null,vptr -fno-sanitize-recover=undefined -O1)
  target_link_options(penstock_options INTERFACE -fsanitize=address,undefined)
endif()

# penstock_folder(NAME [DEPENDS folder...] [LIBRARIES target...] [EXCLUDE file...]): the library penstock_NAME of all .cpp in NAME/.
# A folder without sources becomes an interface library.
function(penstock_folder name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBRARIES;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cpp)
  foreach(file IN LISTS arg_EXCLUDE)
    list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/${name}/${file})
  endforeach()
  if(sources OR name STREQUAL record)
    add_library(penstock_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(penstock_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  list(TRANSFORM arg_DEPENDS PREPEND penstock_)
  target_link_libraries(penstock_${name} ${scope} penstock_options ${arg_DEPENDS} ${arg_LIBRARIES})
endfunction()

# Debian's CapnProtoConfig names both tools in a place where they are not.
find_program(CAPNP capnp REQUIRED)
find_program(CAPNPC_CXX capnpc-c++ REQUIRED)

# penstock_schema(FOLDER FILE): compiles a Cap'n Proto schema; it is included as "FOLDER/FILE.h".
function(penstock_schema folder file)
  set(output ${PROJECT_BINARY_DIR}/generated/${folder}/${file})
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/generated/${folder})
  add_custom_command(
    OUTPUT ${output}.c++ ${output}.h
    COMMAND ${CAPNP} compile -o${CAPNPC_CXX}:${PROJECT_BINARY_DIR}/generated
            --src-prefix=${PROJECT_SOURCE_DIR} -I/usr/include ${PROJECT_SOURCE_DIR}/${folder}/${file}
    DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/${file} VERBATIM)
  target_sources(penstock_${folder} PRIVATE ${output}.c++ ${output}.h)
  set_source_files_properties(${output}.c++ PROPERTIES COMPILE_OPTIONS "-Wno-shadow;-Wno-old-style-cast")
endfunction()
