/* SPDX-License-Identifier: BSD-2-Clause */
/* Macros of libraries, for cppcheck, which does not read their headers. */
#define LIBBPF_OPTS(type, name, ...) struct type name = { __VA_ARGS__ }
#define bpf_object__for_each_program(pos, object)                                                                      \
	for (pos = bpf_object__next_program(object, NULL); pos; pos = bpf_object__next_program(object, pos))
#define json_array_foreach(array, i, value)                                                                            \
	for (i = 0; i < json_array_size(array) && (value = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value)                                                                        \
	for (key = json_object_iter_key(json_object_iter(object)); key && (value = json_object_get(object, key));      \
	     key = json_object_iter_key(json_object_iter_next(object, json_object_key_to_iter(key))))
