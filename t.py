from onnxruntime.capi import onnxruntime_pybind11_state as s

for sc in s.get_all_operator_schema():
    if sc.name in ("GatherBlockQuantized","MatMulNBits"):
        print(sc.name, [ (i.name, i.typeStr if hasattr(i,'typeStr') else i.type_str) for i in sc.inputs], list(sc.attributes), [(c.type_param_str, c.allowed_type_strs) for c in sc.type_constraints])
        print(sc.doc[:3000])
