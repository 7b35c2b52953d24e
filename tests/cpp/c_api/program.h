/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MXNET_TESTS_C_API_PROGRAM_H_
#define MXNET_TESTS_C_API_PROGRAM_H_

#ifdef __cplusplus
extern "C" {
#endif

/* NULL if all went well, else what went wrong. */
const char* run_c_program(void);

#ifdef __cplusplus
}
#endif

#endif
